"""What a run refuses, before training or after, and what its failure leaves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from composing import compose
from whole_runs import KilledError, execute, saved, small
from wording import says

from vicinal.cli.configs import build, resolved
from vicinal.contracts import Method
from vicinal.data.dataset import Dataset
from vicinal.errors import LossNotFiniteError, RunError
from vicinal.loggers.logger import Logger
from vicinal.loop import Loop
from vicinal.optim import Optimizer
from vicinal.run import Run
from vicinal.schedules import Schedule
from vicinal.storage.checkpoints import Checkpoints
from vicinal.storage.run_folder import RunFolder
from vicinal.training.attempt import Attempt

WRONG = """
from vicinal.cli.configs import build, compose
for part in ("dataset", "method", "optimizer", "schedule", "logger"):
    config = compose("dataset=digits")
    config[part] = {"_target_": "vicinal.vicinities.mixup.Mixup"}
    try:
        build(config)
    except ValueError as error:
        print(error)
config = compose("dataset=digits")
config.method = {"_target_": "vicinal.losses.cross_entropy", "_partial_": True}
try:
    build(config)
except ValueError as error:
    print(error)
"""


def test_what_is_no_such_part_is_refused_in_one_line() -> None:
    """In a process where types are not checked, as a user's."""
    *lines, partial = subprocess.check_output([sys.executable, "-c", WRONG], text=True).splitlines()
    for line, kind in zip(lines, (Dataset, Method, Optimizer, Schedule, Logger), strict=True):
        name, where = kind.__name__, f"{kind.__module__}.{kind.__name__}"
        assert line == f"{name.lower()} must be a {name} ({where}), got Mixup"
    assert partial.endswith("(vicinal.contracts.Method), got cross_entropy with _partial_: true")


def test_a_network_that_does_not_take_the_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says("^model ... (3, 8, 8)")):
        execute(tmp_path, "model=timm", "model.name=vit_tiny_patch16_224")


def test_a_logger_whose_package_is_missing_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vicinal.loggers.tensorboard.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=says("^logger must be ... tensorboard")):
        execute(tmp_path, "logger=tensorboard")


def test_results_that_cannot_be_written_are_found_out_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Attempt, "_train", None)
    (tmp_path / "results").touch()
    with pytest.raises(NotADirectoryError, match="results"):
        execute(tmp_path)


def test_a_finished_run_is_not_taken_for_one_on_other_data(tmp_path: Path) -> None:
    one, another = saved(tmp_path, "one"), saved(tmp_path, "another")
    record = execute(tmp_path / "out", *one)
    with pytest.raises(RunError, match=says("record ... data ... seed 0 ... dataset.name=NAME")):
        execute(tmp_path / "out", *another)
    elsewhere = f"out={tmp_path}/elsewhere", f"results={tmp_path}/out/results"
    config = compose(*small(("dataset=npz",)), *another, *elsewhere)
    run: Run = build(config)  # nor may its published record be overwritten
    with pytest.raises(RunError, match=says("data ... dataset.name=NAME")):
        run.execute(resolved(config), {"model": "wrn10_2", "method": "some"})
    assert execute(tmp_path / "out", *one) == record


def test_a_finished_run_is_not_taken_for_one_that_was_measured_otherwise(tmp_path: Path) -> None:
    record = execute(tmp_path)
    with pytest.raises(RunError, match=says("^clean.bins ... 15 ... 3 ... evaluation=clean")):
        execute(tmp_path, "clean.bins=3")
    assert execute(tmp_path, "clean.batch_size=100") == record


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
