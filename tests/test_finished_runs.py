"""A finished run keeps its weights, can be measured again, and is left alone."""

import json
import sys
from pathlib import Path

import pytest
import torch
from composing import compose
from torch import nn
from whole_runs import SMALL, execute
from wording import says

from vicinal.cli.configs import build
from vicinal.commands import evaluate
from vicinal.errors import RunError
from vicinal.run import Run
from vicinal.storage import weights
from vicinal.storage.run_folder import RunFolder


def test_a_finished_run_says_so_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = execute(tmp_path)
    files = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != "lock"}
    capsys.readouterr()
    assert execute(tmp_path) == record
    assert "finished" in capsys.readouterr().out
    assert all(path.read_bytes() == content for path, content in files.items())
    # The copy among the results comes back if it was lost.
    copy = tmp_path / "results" / "runs" / f"{record['name']}-seed0.json"
    copy.unlink()
    execute(tmp_path)
    assert copy.exists()


def test_a_finished_run_can_be_logged_after_the_fact_and_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    record = execute(tmp_path)
    (path,) = tmp_path.rglob("record.json")
    capsys.readouterr()
    execute(tmp_path, "logger=tensorboard")
    events = scalars(path.parent)
    assert [value for _, value in events["test_top1"]] == pytest.approx(
        record["curves"]["test_top1"]
    )
    assert [epoch for epoch, _ in events["train_loss"]] == [1, 2]
    last = record["metrics"]["last"]["top1"]
    assert events["final/last/top1"] == [(2, pytest.approx(last))]
    assert f"test accuracy: last epoch {last:.2f} %" in capsys.readouterr().out
    files = sorted((path.parent / "tensorboard").iterdir())
    execute(tmp_path, "logger=tensorboard")
    assert sorted((path.parent / "tensorboard").iterdir()) == files
    assert "logged already: tensorboard" in capsys.readouterr().out
    execute(tmp_path, "logger=tensorboard", "evaluation=clean")
    events = scalars(path.parent)
    assert len(events["test_top1"]) == 2
    assert "clean/last/test_top1" in events


def test_a_run_that_was_logged_live_is_not_logged_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    execute(tmp_path, "schedule.epochs=1", "logger=tensorboard")
    execute(tmp_path, "schedule.epochs=1", "logger=tensorboard")
    assert "logged already" in capsys.readouterr().out


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415 (optional)
        EventAccumulator,
    )

    shown = EventAccumulator(str(folder / "tensorboard"))
    shown.Reload()
    tags = shown.Tags()["scalars"]
    return {tag: [(each.step, each.value) for each in shown.Scalars(tag)] for tag in tags}


def test_a_finished_run_says_where_everything_is_and_then_less(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = execute(tmp_path, "schedule.epochs=1")
    said = capsys.readouterr().out
    (path,) = tmp_path.rglob("record.json")
    copy = tmp_path / "results" / "runs" / f"{record['name']}-seed0.json"
    for part in (str(path), str(copy), str(path.parent / "weights"), "test accuracy: last epoch"):
        assert part in said
    execute(tmp_path, "schedule.epochs=1")
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"finished already: {path}"
    assert second.startswith("test accuracy: last epoch")


def test_checkpoints_go_once_the_weights_are_kept_and_not_before(tmp_path: Path) -> None:
    execute(tmp_path)
    (path,) = tmp_path.rglob("record.json")
    checkpoint = path.parent / "checkpoints" / "epoch00002.pt"  # as a killed process may leave one
    checkpoint.parent.mkdir()
    checkpoint.touch()
    record = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in record.items() if k != "weights"}))
    execute(tmp_path)
    assert checkpoint.exists()
    path.write_text(json.dumps(record))
    execute(tmp_path)
    assert not checkpoint.exists()


def test_a_finished_run_is_measured_again_from_the_weights_it_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = execute(tmp_path, "optimizer.ema_decay=0.5", "optimizer.lr=0.3")
    (path,) = tmp_path.rglob("record.json")
    assert record["weights"]["best_valid"]["epoch"] == record["metrics"]["best_valid"]["epoch"]
    line = "runtime=cpu evaluation=clean evaluation.clean.bins=7 reports=[best_valid]"
    monkeypatch.setattr(sys, "argv", ["vicinal evaluate", str(path.parent), *line.split()])
    evaluate.main()
    again = json.loads(path.read_text())
    ((name, found),) = again.pop("evaluations").items()
    assert name.startswith("clean-best_valid-")
    assert found["config"]["bins"] == 7
    assert found["epoch"] == record["metrics"]["best_valid"]["epoch"]
    for key in ("top1", "top5", "nll"):
        expected = record["metrics"]["best_valid"][key]
        assert found["metrics"][f"test_{key}"] == pytest.approx(expected)
    record.pop("evaluations")
    assert again == record
    copy = tmp_path / "results" / "runs" / f"{record['name']}-seed0.json"
    assert "evaluations" in json.loads(copy.read_text())


def test_every_reading_keeps_the_weights_of_its_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[float, dict[str, torch.Tensor]] = {}
    scores = {1: (30, 40), 2: (50, 60), 3: (50, 60), 4: (20, 10)}  # test, validation
    original = RunFolder.log

    def log(self: RunFolder, values: dict[str, float], network: nn.Module) -> None:
        seen[values["epoch"]] = {k: v.clone() for k, v in network.state_dict().items()}
        values["test_top1"], values["valid_top1"] = map(float, scores[values["epoch"]])
        original(self, values, network)

    monkeypatch.setattr(RunFolder, "log", log)
    record = execute(tmp_path, "schedule.epochs=4", "optimizer.ema_decay=0.5")
    epochs = {"last": 4, "best_test": 3, "best_valid": 2}
    assert {reading: kept["epoch"] for reading, kept in record["weights"].items()} == epochs
    (path,) = tmp_path.rglob("record.json")
    run: Run = build(compose(*SMALL, "optimizer.ema_decay=0.5"))
    for reading, epoch in epochs.items():
        network = run.finished(path.parent).network(reading)
        for name, value in network.state_dict().items():
            assert torch.equal(value, seen[epoch][name]), (reading, name)
    assert not list(path.parent.glob("checkpoints/*"))


@pytest.mark.parametrize("damage", ["flipped", "gone", "not kept"])
def test_kept_weights_that_are_not_the_records_are_refused(damage: str, tmp_path: Path) -> None:
    record = execute(tmp_path, "dataset.holdout_per_class=0")
    (path,) = tmp_path.rglob("record.json")
    file = path.parent / "weights" / "best_test.safetensors"
    if damage == "flipped":
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    if damage == "gone":
        file.unlink()
    reading = "best_valid" if damage == "not kept" else "best_test"
    told = {"flipped": "damaged", "gone": "missing", "not kept": "best_test, last"}
    with pytest.raises(RunError, match=says(f"{reading} ... {told[damage]}")):
        weights.read(path.parent, record, reading)
    weights.read(path.parent, record, "last")
