"""Whole runs on the embedded digits: resumed, finished, recorded, refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest
import torch
from composing import compose
from torch import nn
from wording import says

from vicinal.cli.configs import build, resolved
from vicinal.errors import RunError
from vicinal.loop import Loop, LossNotFiniteError
from vicinal.run import Run
from vicinal.storage import weights
from vicinal.storage.checkpoints import Checkpoints
from vicinal.storage.run_folder import RunFolder

SMALL = (
    "dataset=digits dataset.size=8 dataset.train_per_class=6 dataset.holdout_per_class=2 "
    "dataset.unlabelled=true "
    "model=wrn10_2 runtime=cpu runtime.threads=1 runtime.checkpoint_seconds=0 "
    "schedule.epochs=2 schedule.batch_size=24 evaluation.batch_size=200"
).split()


def execute(out: Path, *overrides: str) -> dict[str, Any]:
    """A run as the command line makes it; its record."""
    config = compose(*_small(overrides), *overrides, f"out={out}", f"results={out}/results")
    run: Run = build(config)
    run.execute(resolved(config), {"model": "wrn10_2", "method": "some"})
    (path,) = out.rglob("record.json")
    return json.loads(path.read_text())


def _small(overrides: tuple[str, ...]) -> list[str]:
    """SMALL, without what would be of another data set."""
    other = any(override.startswith("dataset=") for override in overrides)
    return [each for each in SMALL if not (other and each.startswith("dataset"))]


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    curves = {key: value for key, value in record["curves"].items() if key != "seconds"}
    return {"metrics": record["metrics"], "curves": curves, "weights": record["weights"]}


WRONG = """
from vicinal.cli.configs import build, compose
for part in ("dataset", "method", "optimizer", "schedule", "logger"):
    config = compose("dataset=digits")
    config[part] = {"_target_": "vicinal.vicinities.mixup.Mixup"}
    try:
        build(config)
    except ValueError as error:
        print(error)
"""


def test_what_is_no_such_part_is_refused_in_one_line() -> None:
    """In a process where types are not checked, as a user's."""
    lines = subprocess.check_output([sys.executable, "-c", WRONG], text=True).splitlines()
    parts = "Dataset", "Method", "Optimizer", "Schedule", "Logger"
    assert lines == [f"{part.lower()} must be a {part}, got Mixup" for part in parts]


def test_measuring_now_and_then_changes_no_weight(tmp_path: Path) -> None:
    every = execute(tmp_path / "every", "schedule.epochs=5")
    some = execute(tmp_path / "some", "schedule.epochs=5", "schedule.measure_epochs=2")
    assert some["curves"]["epoch"] == [2.0, 4.0, 5.0]
    for key in ("test_nll", "train_loss"):
        curve = every["curves"][key]
        assert some["curves"][key] == [curve[1], curve[3], curve[4]]


def test_under_label_noise_the_training_labels_are_measured_by_kind(tmp_path: Path) -> None:
    """What was kept is learnt before what was redrawn (Arpit et al. 2017, mixup §3.4)."""
    noisy = ("dataset.train_per_class=40", "dataset.label_noise=0.5", "schedule.epochs=8")
    curves = execute(tmp_path, *noisy)["curves"]
    (kept,), (redrawn,) = curves["kept_top1"], curves["redrawn_top1"]  # of the last epoch alone
    assert kept > 40
    assert redrawn < kept / 1.5
    assert len(curves["test_top1"]) == 8


class KilledError(Exception):
    """Stands for SIGKILL: nothing of ours runs after it."""


@pytest.mark.parametrize(
    ("method", "stop"),
    [
        ("maxup_cutmix", 1),  # in the first epoch
        ("mean_teacher", 3),  # at its last step
        ("knn_mixup", 4),  # in the second
    ],
)
def test_a_run_stopped_anywhere_ends_as_if_it_never_was(
    method: str, stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole runs; test_resume.py has every method."""
    whole = execute(tmp_path / "whole", f"method={method}")
    original = RunFolder.save_if_due

    def save_and_die(self: RunFolder, loop: Loop) -> None:
        original(self, loop)
        if loop.steps_done == stop:
            raise KilledError

    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_if_due", save_and_die)
        with pytest.raises(KilledError):
            execute(out, f"method={method}")
    torch.manual_seed(99)
    resumed = execute(out, f"method={method}")
    assert without_time(resumed) == without_time(whole)
    assert [session["from_step"] for session in resumed["sessions"]] == [0, stop]


def test_a_record_says_what_was_run_on_what_and_what_came_out(tmp_path: Path) -> None:
    record = execute(tmp_path, "method=mixup", "seed=3")
    assert record["seed"] == record["config"]["seed"] == 3
    assert record["config"]["method"]["vicinity"]["alpha"] == 1.0
    rest = 1797 - 360 - 60 - 20  # of all digits
    assert record["data"]["samples"] == {"train": 60, "valid": 20, "test": 360, "unlabelled": rest}
    assert record["data"]["canonical"] is True
    assert set(record["metrics"]) == {"last", "median10", "best_test", "best_valid"}
    assert set(record["metrics"]["last"]) == {"top1", "top5", "nll", "ece"}
    assert len(record["curves"]["train_loss"]) == 2
    (session,) = record["sessions"]
    assert session["device"]["type"] == "cpu"
    assert session["versions"]["torch"] == torch.__version__
    run: Run = build(compose(*SMALL))
    assert record["parameters"] == sum(
        p.numel() for p in run.build(run.dataset.load()).parameters()
    )
    copy = tmp_path / "results" / "runs" / f"{record['name']}-seed3.json"
    assert json.loads(copy.read_text()) == record
    (history,) = tmp_path.rglob("history.jsonl")
    assert [json.loads(line)["epoch"] for line in history.read_text().splitlines()] == [1, 2]


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


def test_paths_that_are_not_utf8_are_recorded(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"donn\xe9es")
    config = compose(*SMALL, "schedule.epochs=1", f"out='{folder}'", f"results='{folder}'")
    run: Run = build(config)
    run.execute(resolved(config), {"model": "wrn10_2", "method": "some"})
    (path,) = (folder / "runs").rglob("*.json")
    assert json.loads(path.read_text())["config"]["out"] == str(folder)


def test_results_that_cannot_be_written_are_found_out_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "_train", None)
    (tmp_path / "results").touch()
    with pytest.raises(NotADirectoryError, match="results"):
        execute(tmp_path)


def test_a_finished_run_is_measured_again_from_the_weights_it_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = execute(tmp_path, "optimizer.ema_decay=0.5", "optimizer.lr=0.3")
    (path,) = tmp_path.rglob("record.json")
    assert record["weights"]["best_valid"]["epoch"] == record["metrics"]["best_valid"]["epoch"]
    line = f"evaluate.py {path.parent} --runtime cpu bins=7 --reading best_valid"
    monkeypatch.setattr(sys, "argv", line.split())
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
        network, _ = run.trained(path.parent, reading)
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


def test_seeds_differ_and_repeat(tmp_path: Path) -> None:
    first = execute(tmp_path / "a", "method=cutmix")
    assert without_time(execute(tmp_path / "b", "method=cutmix")) == without_time(first)
    assert without_time(execute(tmp_path / "c", "method=cutmix", "seed=1")) != without_time(first)


def test_the_first_weights_follow_from_the_seed() -> None:
    def weights_of(seed: int) -> torch.Tensor:
        run: Run = build(compose(*SMALL, f"seed={seed}"))
        return torch.cat([p.flatten() for p in run.build(run.dataset.load()).parameters()])

    first, again, other = map(weights_of, (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def saved(folder: Path, name: str) -> list[str]:
    """The lines of a data set by that file's name, whose content depends on it."""
    images = np.random.default_rng(len(name)).integers(256, size=(40, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(40) % 4
    file = folder / f"{name}.npz"
    np.savez(file, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return ["dataset=npz", "dataset.name=mine", f"dataset.arrays={file}"]


def test_a_finished_run_is_not_taken_for_one_on_other_data(tmp_path: Path) -> None:
    one, another = saved(tmp_path, "one"), saved(tmp_path, "another")
    record = execute(tmp_path / "out", *one)
    with pytest.raises(RunError, match=says("record ... data ... seed 0 ... dataset.name=NAME")):
        execute(tmp_path / "out", *another)
    elsewhere = f"out={tmp_path}/elsewhere", f"results={tmp_path}/out/results"
    config = compose(*_small(("dataset=npz",)), *another, *elsewhere)
    run: Run = build(config)  # nor may its published record be overwritten
    with pytest.raises(RunError, match=says("data ... dataset.name=NAME")):
        run.execute(resolved(config), {"model": "wrn10_2", "method": "some"})
    assert execute(tmp_path / "out", *one) == record


def test_a_finished_run_is_not_taken_for_one_that_was_measured_otherwise(tmp_path: Path) -> None:
    record = execute(tmp_path)
    with pytest.raises(RunError, match=says("^evaluation.bins ... 15 ... 3 ... scripts/evaluate")):
        execute(tmp_path, "evaluation.bins=3")
    assert execute(tmp_path, "evaluation.batch_size=100") == record


def test_a_run_does_not_continue_on_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(self: RunFolder, loop: Loop) -> None:
        self.save(loop)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_if_due", die)
        with pytest.raises(KilledError):
            execute(tmp_path, *saved(tmp_path, "one"))
    with pytest.raises(RunError, match=says("seed0 ... data ... fingerprint")):
        execute(tmp_path, *saved(tmp_path, "another"))
    (folder,) = tmp_path.rglob("checkpoints")
    state = Checkpoints(folder).load()
    assert state is not None
    Checkpoints(folder).save(9, 9, {key: part for key, part in state.items() if key != "best"})
    with pytest.raises(RunError, match=says("seed0 ... version ... weights ... best")):
        execute(tmp_path, *saved(tmp_path, "one"))
    Checkpoints(folder).paths()[0].unlink()
    execute(tmp_path, *saved(tmp_path, "one"))


def test_a_loss_that_explodes_names_step_seed_and_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"finite.* step \d+ .*seed 0.*checkpoint: (/.*\.pt|none)$"):
        execute(tmp_path, "optimizer.lr=1e20", "schedule.epochs=5")


def test_the_failure_of_an_attempt_is_published_until_another_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(self: Loop) -> None:
        raise LossNotFiniteError("the loss was not finite")

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "check", diverge)
        with pytest.raises(RunError):
            execute(tmp_path)
    (copy,) = (tmp_path / "results").rglob("*.json")
    assert "not finite" in json.loads(copy.read_text())["failed"]
    record = execute(tmp_path)
    assert json.loads(copy.read_text()) == record
    assert "failed" not in record


def test_a_network_that_does_not_take_the_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says("^model ... (3, 8, 8)")):
        execute(tmp_path, "model=timm", "model.name=vit_tiny_patch16_224")


def test_the_warmup_method_changes_the_first_epochs_only(tmp_path: Path) -> None:
    warm = ("method@schedule.warmup_method=erm", "schedule.warmup_method_epochs=1")
    plain = execute(tmp_path / "a", "method=erm")["curves"]["train_loss"]
    mixed = execute(tmp_path / "b", "method=mixup")["curves"]["train_loss"]
    both = execute(tmp_path / "c", "method=mixup", *warm)["curves"]["train_loss"]
    assert both[0] == plain[0] != mixed[0]
    assert both[1] != plain[1]
