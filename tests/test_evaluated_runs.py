"""What a run measures after training: from kept weights, once, continuing where it stopped."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from two_ranks import on_two
from whole_runs import KilledError, execute, without_time
from wording import says

from vicinal.commands import evaluate
from vicinal.errors import RunError
from vicinal.evaluation.clean import Clean
from vicinal.storage.evaluations import KeptParts, key
from vicinal.storage.run_folder import RunFolder
from vicinal.training.attempt import Attempt

CLEAN = "evaluation=clean"


def entries(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Evaluations without what differs from one measurement to the next."""
    timeless = ("config", "report", "epoch", "metrics")
    return {k: {n: e[n] for n in timeless} for k, e in record["evaluations"].items()}


def calls(monkeypatch: pytest.MonkeyPatch, most: int = 1000) -> list[int]:
    """The sizes of the splits that are measured from now on; the process dies after `most`."""
    seen, original = list[int](), Clean.__call__

    def measured(self: Clean, model: nn.Module, split: Any) -> dict[str, float]:
        if len(seen) == most:
            raise KilledError
        seen.append(len(split))
        return original(self, model, split)

    monkeypatch.setattr(Clean, "__call__", measured)
    return seen


def test_an_evaluation_is_measured_on_the_weights_of_each_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = RunFolder.log

    def log(self: RunFolder, values: dict[str, float], network: nn.Module) -> None:
        values["valid_top1"] = -values["epoch"]  # so that the first epoch is the best
        original(self, values, network)

    monkeypatch.setattr(RunFolder, "log", log)
    record = execute(tmp_path, CLEAN, "reports=[last,best_valid]", "optimizer.lr=0.3")
    assert [record["weights"][name]["epoch"] for name in ("last", "best_valid")] == [2, 1]
    assert len(record["evaluations"]) == 2
    for each in record["evaluations"].values():
        reported = record["metrics"][each["report"]]
        for name in ("top1", "nll", "ece"):
            assert each["metrics"][f"test_{name}"] == pytest.approx(reported[name])
        assert each["epoch"] == record["weights"][each["report"]]["epoch"]
    copy = tmp_path / "results" / "runs" / f"{record['name']}-seed0.json"
    assert json.loads(copy.read_text()) == record


def test_what_a_finished_run_lacks_is_measured_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = execute(tmp_path)
    monkeypatch.setattr(Attempt, "_train", None)
    record = execute(tmp_path, CLEAN)
    assert without_time(record) == without_time(alone)
    assert [each["name"] for each in record["evaluations"].values()] == ["clean"]
    seen = calls(monkeypatch)
    assert execute(tmp_path, CLEAN, "evaluation.clean.batch_size=7") == record
    assert seen == []
    again = execute(tmp_path, CLEAN, "evaluation.clean.bins=7")
    assert len(again["evaluations"]) == 2


def test_an_evaluation_that_was_killed_measures_the_parts_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = execute(tmp_path / "one", CLEAN)
    execute(tmp_path / "two")
    with monkeypatch.context() as killed:
        calls(killed, most=1)
        with pytest.raises(KilledError):
            execute(tmp_path / "two", CLEAN)
    seen = calls(monkeypatch)
    assert entries(execute(tmp_path / "two", CLEAN)) == entries(record)
    assert len(seen) == 1
    assert not list(tmp_path.rglob("evaluations/*"))


def test_parts_that_were_measured_on_other_weights_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = execute(tmp_path / "one", CLEAN, "optimizer.lr=0.2")
    (run,) = (tmp_path / "one").rglob("record.json")
    parts = {"test": {"top1": -1.0, "nll": 0.0, "ece": 0.0}}
    name, kept = next(iter(record["evaluations"])), record["weights"]["last"]["sha256"]
    for checksum, taken in (("0" * 64, False), (kept, True)):
        run.write_text(json.dumps(record | {"evaluations": {}}))
        file = run.parent / "evaluations" / f"{name}-{checksum[:12]}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(parts))
        (found,) = execute(tmp_path / "one", CLEAN, "optimizer.lr=0.2")["evaluations"].values()
        assert (found["metrics"]["test_top1"] == -1.0) == taken


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_damaged_parts_are_measured_again(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "evaluations" / "parts.json"
    path.parent.mkdir()
    path.write_bytes(content)
    parts = KeptParts(path, "parts", progress=False)
    assert parts(["a", "b"], lambda name: {name: 1.0}) == {"a": {"a": 1.0}, "b": {"b": 1.0}}
    assert parts(["b", "c"], lambda name: {name: 2.0}) == {"b": {"b": 1.0}, "c": {"c": 2.0}}


def test_the_weights_of_a_report_that_no_run_has_are_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Attempt, "_train", None)
    with pytest.raises(ValueError, match=says("^reports ... best_valid ... hold-out")):
        execute(tmp_path, CLEAN, "reports=[best_valid]", "dataset.holdout_per_class=0")
    with pytest.raises(ValueError, match=says("^reports ... last ... best_test ... got median10")):
        execute(tmp_path, "reports=[median10]")


def test_a_number_that_is_not_finite_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(tmp_path)
    monkeypatch.setattr(Clean, "__call__", lambda *_: {"top1": 1.0, "nll": float("nan")})
    with pytest.raises(RunError, match=says("clean ... last ... test ... nll ... not finite")):
        execute(tmp_path, CLEAN)
    (path,) = tmp_path.rglob("record.json")
    assert json.loads(path.read_text())["evaluations"] == {}


def test_the_key_of_an_evaluation_depends_on_what_its_numbers_depend_on() -> None:
    config = {"_target_": "vicinal.evaluation.own_splits.OwnSplits", "bins": 15, "batch_size": 9}
    same = [config, config | {"batch_size": 1000}, {"_target_": config["_target_"]}]
    (one,) = {key("clean", "last", each) for each in same}
    assert one not in (
        key("clean", "last", config | {"bins": 7}),
        key("clean", "best_test", config),
    )


def test_two_ranks_record_what_one_process_does(tmp_path: Path) -> None:
    overrides = CLEAN, "evaluation.clean.batch_size=10", "reports=[last,best_test]"
    execute(tmp_path / "two")
    on_two(lambda: execute(tmp_path / "two", *overrides), tmp_path)
    found = entries(execute(tmp_path / "two", *overrides))
    expected = entries(execute(tmp_path / "one", *overrides))
    assert found.keys() == expected.keys()
    for name, entry in expected.items():
        assert found[name]["metrics"] == pytest.approx(entry["metrics"], rel=1e-12)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("evaluation=claen", "evaluation=claen is not known; did you mean clean?"),
        ("evaluation=[clean,claen]", "evaluation=claen is not known; did you mean clean?"),
        ("reports=[last]", "evaluation must be given"),
        ("evaluation.clean.bins=3", "evaluation.clean ... choose it with evaluation=clean"),
        ("schedule.epochs=3", "schedule.epochs=3 is not a setting of evaluations"),
        ("evaluation=clean evaluation.clean.bin=3", "did you mean evaluation.clean.bins?"),
        ("evaluation=clean reports=[lost]", "reports ... lost"),
        ("evaluation=clean", "holds no finished run"),
    ],
)
def test_a_mistyped_evaluation_of_a_folder_is_told_in_one_line(
    typed: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "lost" in typed:
        execute(tmp_path)
    folder = next((each.parent for each in tmp_path.rglob("record.json")), tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["vicinal evaluate", str(folder), *typed.split(), "runtime=cpu"]
    )
    capsys.readouterr()
    with pytest.raises(SystemExit):
        evaluate.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(says(f"^vicinal: ... {told}"), line), line
