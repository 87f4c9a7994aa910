"""TensorBoard shows each epoch once, also after a resume."""

import sys
from pathlib import Path

import pytest
from measured_samples import corrupted, entry
from wording import says

from vicinal.loggers.logger import Beside, RunIdentity
from vicinal.loggers.tensorboard import Tensorboard

RECORD = {
    "metrics": {"last": {"top1": 93.0}},
    "evaluations": entry(corrupted(70.0), report="best_test") | entry({"top1": 50.0}, "spatial"),
}


def identity(folder: Path, resumed: bool = False) -> RunIdentity:
    return RunIdentity("abc-0", "a/seed0", "abc", {"seed": 0}, folder, resumed)


def events(folder: Path, tag: str) -> list[tuple[int, float]]:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415 (optional)
        EventAccumulator,
    )

    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def test_it_shows_every_epoch_and_the_metrics(tmp_path: Path):
    pytest.importorskip("tensorboard")
    logger = Tensorboard()
    logger.start(identity(tmp_path))
    for epoch in (1, 2, 3):
        logger.log(epoch, {"test_top1": 90.0 + epoch})
    assert logger.finish(RECORD, [Beside("paper/table1", "CIFAR-10, ERM", 5.5, 6.0)])
    assert events(tmp_path, "test_top1") == [(1, 91.0), (2, 92.0), (3, 93.0)]
    for name, value in (("paper", 5.5), ("ours", 6.0), ("difference", 0.5)):
        assert events(tmp_path, f"papers/paper/table1/CIFAR_10_ERM/{name}") == [(3, value)]
    assert events(tmp_path, "final/last/top1") == [(3, 93.0)]


def test_what_stands_for_an_evaluation_is_at_the_epoch_of_its_weights(tmp_path: Path):
    pytest.importorskip("tensorboard")
    logger = Tensorboard()
    logger.start(identity(tmp_path, resumed=True))  # finished earlier: no epoch is logged
    logger.finish(RECORD, [])
    assert events(tmp_path, "cifar10_c/best_test/robust_accuracy") == [(3, 60.0)]
    assert events(tmp_path, "spatial/last/top1") == [(3, 50.0)]
    with pytest.raises(KeyError):
        events(tmp_path, "cifar10_c/best_test/fog_top1")


def test_a_killed_run_has_shown_its_epochs_and_the_resumed_one_repeats_none(tmp_path: Path):
    pytest.importorskip("tensorboard")
    killed = Tensorboard()
    killed.start(identity(tmp_path))
    for epoch in (1, 2, 3):
        killed.log(epoch, {"test_top1": 90.0 + epoch})
    assert len(events(tmp_path, "test_top1")) == 3  # nothing was closed
    resumed = Tensorboard()
    resumed.start(identity(tmp_path, resumed=True))
    for epoch in (3, 4):  # the checkpoint was of epoch 2
        resumed.log(epoch, {"test_top1": 90.0 + epoch})
    resumed.finish(RECORD, [])
    assert events(tmp_path, "test_top1") == [(1, 91.0), (2, 92.0), (3, 93.0), (4, 94.0)]


def test_a_run_that_died_between_its_last_epoch_and_its_record_loses_nothing(tmp_path: Path):
    pytest.importorskip("tensorboard")
    killed = Tensorboard()
    killed.start(identity(tmp_path))
    killed.log(1, {"test_top1": 91.0})
    resumed = Tensorboard()
    resumed.start(identity(tmp_path, resumed=True))
    resumed.finish(RECORD, [])
    assert events(tmp_path, "test_top1") == [(1, 91.0)]


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ValueError, match=says("pip install tensorboard")):
        Tensorboard()
