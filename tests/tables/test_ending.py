"""What a run says at its end, and what it cannot say."""

import re
from pathlib import Path
from typing import Any

import pytest
from measured_samples import corrupted, entry
from table_samples import printed, record
from wording import says

from vicinal.loggers.logger import Beside
from vicinal.storage import records
from vicinal.tables import ending, table
from vicinal.tables.outcome import Outcome
from vicinal.tables.plan import compose_cached, plan_evaluation

MIXUP = "dataset=cifar100", "model=preact_resnet18", "method=mixup"
NUMBER = "mixup, Figure 3a, CIFAR-100, PreAct ResNet-18, mixup, error: paper 21.1 %"
FOLDER = Path("runs/some/seed0")


def finished(*lines: str, seed: int = 0, error: float = 21.34, **more: Any) -> dict[str, Any]:
    """The record of a run, with the median of its last epochs at the error."""
    found = record(lines, seed, error, **more)
    top1 = {"top1": 100 - error}
    found["metrics"] = {"last": top1, "median10": top1, "best_test": {"top1": 80.0, "epoch": 187.0}}
    choices, weights = compose_cached(lines)[1], {"last": {}, "best_test": {}}
    return found | {"choices": choices, "weights": weights, "evaluations": {}} | more


def published(results: Path, *others: dict[str, Any]) -> str:
    for each in others:
        records.publish(records.published(str(results), each["name"], each["seed"]), each)
    return str(results)


def told(capsys: pytest.CaptureFixture[str], own: dict[str, Any], results: str) -> list[str]:
    """The lines about papers; nothing is told of errors."""
    capsys.readouterr()
    ending.tell(own, FOLDER, results, news=True)
    said = capsys.readouterr()
    assert said.err == ""
    return said.out.splitlines()[3:]


def test_it_says_what_was_measured_and_where_it_lies(capsys: pytest.CaptureFixture[str]) -> None:
    own = finished("dataset=digits", curves={"test_top1": [1.0] * 10})
    assert ending.tell(own, FOLDER, "results", news=True) == []
    numbers, place, weights = capsys.readouterr().out.splitlines()
    assert re.search(
        says("^test accuracy: ... 78.66 % ... 80.00 % (epoch 187) ... median"), numbers
    )
    copy = records.published("results", own["name"], 0)
    assert place == f"record: {FOLDER}/record.json (copy: {copy})"
    assert weights == f"weights: {FOLDER}/weights/{{best_test,last}}.safetensors"
    ending.tell(own, FOLDER, "results", news=False)
    assert capsys.readouterr().out.splitlines() == [numbers]


def test_few_epochs_have_no_median_of_ten_and_text_has_a_perplexity() -> None:
    own = finished("dataset=digits", curves={"test_top1": [1.0] * 9})
    assert "median" not in ending.measured(own)
    own["metrics"] = {"last": {"nll": 4.0, "perplexity": 54.6}}
    assert ending.measured(own) == "test perplexity: last epoch 54.60"


def test_one_seed_of_three_and_then_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, other = finished(*MIXUP), finished(*MIXUP, seed=1, error=21.26)
    results = published(tmp_path, own)
    assert told(capsys, own, results) == [f"{NUMBER}, ours 21.34 % (seed 0 of 3)"]
    published(tmp_path, other)
    both = f"{NUMBER}, ours 21.30 ± 0.06 % (seeds 0, 1 of 3)"
    assert told(capsys, own, results) == told(capsys, other, results) == [both]


def test_the_record_at_hand_counts_and_not_its_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = published(tmp_path, finished(*MIXUP, error=50.0))
    assert told(capsys, finished(*MIXUP), results) == [f"{NUMBER}, ours 21.34 % (seed 0 of 3)"]


def test_a_reduced_run_says_so_to_the_reader_and_to_the_logger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = finished(*MIXUP, "schedule.epochs=30")
    expected = f"{NUMBER}, ours 21.34 % (seed 0), reduced: schedule.epochs=30"
    assert told(capsys, own, str(tmp_path)) == [expected]
    (beside,) = ending.tell(own, FOLDER, str(tmp_path), news=True)
    label, note = "CIFAR-100, PreAct ResNet-18, mixup", "reduced: schedule.epochs=30"
    assert beside == Beside("mixup/figure3a", label, 21.1, beside.ours, note)
    assert beside.difference == pytest.approx(0.24)


def test_an_unplanned_seed_does_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = finished(*MIXUP, seed=7)
    (line,) = told(capsys, own, str(tmp_path))
    assert re.search(says(f"^{NUMBER} ... seed 7 ... 0, 1, 2"), line)
    assert ending.tell(own, FOLDER, str(tmp_path), news=True) == []


def test_a_seed_that_diverged_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = finished(*MIXUP)
    failed = {key: own[key] for key in ("name", "config")} | {"seed": 2, "failed": "nan"}
    (line,) = told(capsys, own, published(tmp_path, failed))
    assert line == f"{NUMBER}, ours 21.34 % (seed 0 of 3; 1 diverged)"


def test_a_damaged_record_of_another_seed_is_told_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = finished(*MIXUP)
    path = records.published(str(tmp_path), own["name"], 1)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    ending.tell(own, FOLDER, str(tmp_path), news=True)
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert re.search(says(f"{path} ... damaged ... not compared"), line)
    assert f"{NUMBER}, ours 21.34 % (seed 0 of 3)" in said.out


def test_our_own_mistakes_are_told_in_full_and_end_no_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "same_run", lambda *_: [1 / 0])
    assert ending.tell(finished("dataset=digits"), FOLDER, "results", news=True) == []
    said = capsys.readouterr()
    assert "Traceback" in said.err
    assert "ZeroDivisionError" in said.err
    assert "weights:" in said.out


def test_a_number_of_an_evaluation_is_compared_once_it_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean, robust = "Normal, accuracy: paper 95.56 %", "Normal, robust accuracy: paper 74.75 %"
    cells = table.load("augmax/table2").cells
    normal = next(c for c in cells if c.row == ("ResNet18", "RA (%)"))
    own = finished(*normal.run)
    (line,) = told(capsys, own, str(tmp_path))
    assert line.startswith("AugMax, Table 2, ResNet18, SA (%), ")
    assert f"{clean}, ours 80.00 %" in line
    assert normal.report == "best_test"
    planned = plan_evaluation("cifar10_c", own["config"])
    found = entry(corrupted(70.0), report="best_test")
    own["evaluations"] = {key: each | {"config": planned} for key, each in found.items()}
    first, second = told(capsys, own, str(tmp_path))
    assert first == line
    assert f"{robust}, ours 60.00 % (seed 0 of 3)" in second


def test_of_many_numbers_the_first_are_shown() -> None:
    cells = [printed(f"{n}.0", seeds=(0, 1, 2, 3, 4)) for n in range(8)]
    found = [Outcome(each, None, {0: 5.0}) for each in cells]
    *shown, more = ending.lines(found, 0)
    assert len(shown) == ending.MOST
    assert shown[1] == "paper, small, r, c, error: paper 1.0 %, ours 5.00 % (seed 0 of 5)"
    assert more == "and 2 more in paper/small (vicinal tables NAME)"
    assert len(ending.lines(found[: ending.MOST], 0)) == ending.MOST


def test_where_the_best_of_several_counts_one_alone_is_not_compared() -> None:
    cell = printed("5.0", best_of=("seed=1,2,3",))
    (line,) = ending.lines([Outcome(cell, None, {})], 0)
    assert re.search(says("^paper, small, r, c, error: paper 5.0 % ... best of 3 runs"), line)


def test_a_cost_is_compared_as_a_ratio() -> None:
    cost = {"measures": "memory", "unit": "MB", "evaluation": "cost"}
    plain = printed("100", **cost)
    cell = printed("210", over=plain, **cost)
    measured = Outcome(cell, None, {0: 600.0}, plain={0: 300.0})
    (line,) = ending.lines([measured], 0)
    assert line.endswith("memory: paper 2.10, ours 2.00 times plain training (seed 0 of 3)")
    found = ending._beside(measured)
    assert (found.paper, found.ours) == (pytest.approx(2.1), 2.0)
