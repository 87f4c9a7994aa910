"""A sweep ends with its configurations side by side, and refuses to choose by test numbers."""

import json
import os
import re
import warnings
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from forks import Fork
from table_samples import ERM, MIXUP, TABLE, runs
from wording import says

from vicinal.tables.results import RecordIndex
from vicinal.tables.swept import SweptJob, beside_paper, compared

TINY = (
    *("dataset=uci_iris", "model=mlp", "model.width=8", "runtime=cpu", "runtime.threads=1"),
    *("schedule.epochs=1", "schedule.batch_size=24"),
)
DIGITS = (
    *("dataset=digits", "dataset.size=8", "dataset.train_per_class=6", "runtime=cpu"),
    *("model=mlp", "model.width=8", "runtime.threads=1", "schedule.epochs=1"),
)


def swept(overrides: str, measure: str = "top1", **curves: float) -> SweptJob:
    """A job whose last epoch reached this on each split; earlier ones reached 99."""
    record: dict[str, Any] = {"name": "digits/mlp/erm/0123", "seed": 0}
    record["metrics"] = {"last": {measure: curves["test"]}}
    record["curves"] = {f"{split}_{measure}": [99.0, value] for split, value in curves.items()}
    return SweptJob(tuple(overrides.split()), record)


def test_configurations_are_told_apart_by_what_varies_and_averaged_over_seeds() -> None:
    jobs = [
        swept("dataset=digits method=erm seed=0", test=91.0),
        swept("dataset=digits method=erm seed=1", test=92.0),
        swept("dataset=digits method=mixup seed=0", test=94.0),
        swept("dataset=digits method=mixup seed=1", test=93.0),
        swept("dataset=digits method=cutmix seed=0", test=92.25),
    ]
    assert compared(jobs).splitlines() == [
        "mean ± standard deviation over seeds, the best test first:",
        "  method=mixup   test 93.50 ± 0.71 %  2 seeds",
        "  method=cutmix         test 92.25 %  1 seed",
        "  method=erm     test 91.50 ± 0.71 %  2 seeds",
    ]


def test_the_best_on_the_hold_out_comes_first_whatever_the_test_set_says() -> None:
    jobs = [
        swept("a=1", test=95.0, valid=80.0),
        swept("a=2", test=70.0, valid=90.0),
    ]
    assert compared(jobs).splitlines() == [
        "mean ± standard deviation over seeds, the best valid first:",
        "  a=2  valid 90.00 %  test 70.00 %  1 seed",
        "  a=1  valid 80.00 %  test 95.00 %  1 seed",
    ]


def test_where_some_have_no_hold_out_the_test_set_decides() -> None:
    jobs = [swept("a=0", test=70.0, valid=99.0), swept("a=1", test=80.0)]
    assert [line.split()[0] for line in compared(jobs).splitlines()[1:]] == ["a=1", "a=0"]


def test_the_lowest_perplexity_is_the_best() -> None:
    jobs = [
        swept("a=1", "perplexity", test=80.0, valid=90.0),
        swept("a=2", "perplexity", test=70.0, valid=75.0),
    ]
    assert compared(jobs).splitlines()[1:] == [
        "  a=2  valid perplexity 75.00  test perplexity 70.00  1 seed",
        "  a=1  valid perplexity 90.00  test perplexity 80.00  1 seed",
    ]


def test_a_sweep_of_seeds_alone_is_called_by_the_name_of_its_run() -> None:
    jobs = [swept(f"method=erm seed={seed}", test=90.0 + seed) for seed in (0, 1)]
    assert compared(jobs).splitlines()[1] == "  digits/mlp/erm/0123  test 90.50 ± 0.71 %  2 seeds"


def test_what_failed_is_named_by_what_varies_with_its_reason() -> None:
    failed = SweptJob(("a=1", "b=2", "seed=1"), failure="the loss was not finite")
    jobs = [swept("a=1 b=1 seed=0", test=90.0), failed]
    assert compared(jobs).splitlines()[2:] == [
        "1 of 2 runs failed:",
        "  b=2 seed=1: the loss was not finite",
    ]
    assert compared([]) == ""


def test_a_tables_numbers_stand_beside_the_papers() -> None:
    erm, mixup = runs(ERM.overrides, 3.7, 3.8, 4.2), runs(MIXUP.overrides)
    outcomes = [RecordIndex([*erm, *mixup]).outcome(cell) for cell in TABLE.cells]
    head, line = beside_paper(outcomes).splitlines()
    assert head.split() == "mean ± standard deviation (seeds) paper ours difference verdict".split()
    assert re.fullmatch(r"CIFAR-10 \| ERM +3.8 +3.90 ± 0.26 \(3\) +\+0.10 ± [\d.]+ +\w+", line), (
        line
    )
    assert beside_paper(outcomes[1:]) == ""


def test_a_sweep_prints_the_numbers_of_its_records_and_fails_if_a_run_does(tmp_path: Path) -> None:
    words = ["-m", *TINY, "method=maxup_mixup", "method.copies=0,1", "seed=0,1", "out=o"]
    process = Fork(words, tmp_path, os.environ)
    out, err = process.communicate()
    assert process.returncode == 1
    found = [json.loads(path.read_text()) for path in (tmp_path / "o").rglob("record.json")]
    scores = [record["metrics"]["last"]["top1"] for record in found]
    assert len(scores) == 2
    *_, title, line, failed, first, second = out.splitlines()
    assert title.endswith("the best test first:")
    number = f"{mean(scores):.2f} ± {stdev(scores):.2f} %"
    assert line == f"  method.copies=1  test {number}  2 seeds"
    assert failed == "2 of 4 runs failed:"
    for seed, line in enumerate((first, second)):
        assert line.startswith(f"  method.copies=0 seed={seed}: method.copies must be at least")
    assert err.splitlines()[-1].startswith("vicinal: failed in the job dataset=uci_iris")


SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=2")


@pytest.fixture(scope="module")
def _optuna() -> None:
    with warnings.catch_warnings(action="ignore"):  # its own
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper._impl")


def search(folder: Path, *more: str) -> tuple[int | None, str, str]:
    alpha = "method.vicinity.alpha=interval(0.1,2)"
    process = Fork([*SEARCH, "method=mixup", alpha, "out=o", *more], folder, os.environ)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.usefixtures("_optuna")
def test_a_search_returns_what_the_hold_out_says(tmp_path: Path) -> None:
    held_out = "dataset.holdout_per_class=3", "hydra.sweeper.direction=maximize"
    code, out, err = search(tmp_path, *DIGITS, *held_out)
    assert code == 0, err
    found = [json.loads(path.read_text()) for path in (tmp_path / "o").rglob("record.json")]
    scores = [record["curves"]["valid_top1"][-1] for record in found]
    assert len(scores) == 2
    value = re.search(r"^Best value: ([\d.]+)$", out, re.MULTILINE)
    assert value is not None
    assert float(value[1]) == pytest.approx(max(scores), rel=1e-5)


@pytest.mark.usefixtures("_optuna")
def test_a_search_without_a_hold_out_is_refused_before_anything_trains(tmp_path: Path) -> None:
    code, _, err = search(tmp_path, *DIGITS, "hydra.sweeper.direction=maximize")
    (line,) = [line for line in err.splitlines() if line.startswith("vicinal")]
    assert code == 1
    assert re.search(says("hydra/sweeper ... optuna ... dataset.holdout_per_class=N"), line)
    assert not list(tmp_path.rglob("record.json"))
