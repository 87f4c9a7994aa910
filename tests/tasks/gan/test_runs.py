"""GAN runs on disk: a killed or longer run continues bit for bit, and leaves a record."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from vicinal.contracts import Resumable
from vicinal.errors import DivergedError, PreemptedError, RunError
from vicinal.storage.checkpoints import Checkpoints
from vicinal.tasks.gan import loop as module
from vicinal.tasks.gan import runs
from vicinal.tasks.gan.coverage import coverage
from vicinal.tasks.gan.games import Vanilla
from vicinal.tasks.gan.loop import GanLoop, Setup
from vicinal.tasks.gan.mixtures import ring
from vicinal.tasks.gan.runs import GanRun, Trained, trained

RUN = GanRun("ring", "code", 0.2, seed=0)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrow networks, few points, and a checkpoint after every step."""
    init = module.Setup.__init__
    monkeypatch.setattr(runs, "POINTS", 100)
    monkeypatch.setattr(runs, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(
        module.Setup, "__init__", lambda self, **given: init(self, **{"width": 16} | given)
    )


class KilledError(BaseException):
    """Unlike any that a run handles."""


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action: Any) -> None:
    """Call `action` in the middle of a step, once."""
    step = GanLoop.step

    def stepping(self: GanLoop) -> None:
        if self.steps_done == number - 1:
            monkeypatch.setattr(GanLoop, "step", step)
            action()
        step(self)

    monkeypatch.setattr(GanLoop, "step", stepping)


def state(folder: Path) -> dict[str, Any]:
    found = Checkpoints(RUN.folder(folder) / "checkpoints").load()
    assert found is not None
    return found["loop"]


def same(a: object, b: object) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def uninterrupted(folder: Path, steps: int) -> Trained:
    return trained(RUN, steps, folder, "cpu")


def test_its_loop_is_resumable() -> None:
    assert isinstance(GanLoop(RUN.setup(), 0), Resumable)


@pytest.mark.parametrize("number", [1, 5, 11])
def test_a_killed_run_continues_bit_for_bit(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill() -> None:
        raise KilledError

    at_step(monkeypatch, number, kill)
    with pytest.raises(KilledError):
        trained(RUN, 12, tmp_path / "killed", "cpu")
    assert not (RUN.folder(tmp_path / "killed") / "record.json").exists()
    continued = trained(RUN, 12, tmp_path / "killed", "cpu")
    whole = uninterrupted(tmp_path / "whole", 12)
    same(state(tmp_path / "killed"), state(tmp_path / "whole"))
    same(continued.snapshots, whole.snapshots)
    assert continued.record["snapshots"] == whole.record["snapshots"]
    assert [each["from_step"] for each in continued.record["sessions"]][1:] == (
        [number - 1] if number > 1 else []
    )


def test_a_terminated_run_saves_itself_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "CHECKPOINT_SECONDS", 1e9)
    at_step(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(PreemptedError, match="SIGTERM after step 5 of 12"):
        trained(RUN, 12, tmp_path / "stopped", "cpu")
    assert state(tmp_path / "stopped")["steps_done"] == 5
    trained(RUN, 12, tmp_path / "stopped", "cpu")
    uninterrupted(tmp_path / "whole", 12)
    same(state(tmp_path / "stopped"), state(tmp_path / "whole"))


def test_a_longer_run_continues_a_shorter_one(tmp_path: Path) -> None:
    first = trained(RUN, 4, tmp_path / "one", "cpu")
    continued = trained(RUN, 12, tmp_path / "one", "cpu")
    assert list(continued.snapshots) == [4, 10, 12]
    assert [each["from_step"] for each in continued.record["sessions"]] == [0, 4]
    whole = uninterrupted(tmp_path / "another", 12)
    for step in (10, 12):
        same(continued.snapshots[step], whole.snapshots[step])
        assert continued.measured(step) == whole.measured(step)
    again = trained(RUN, 4, tmp_path / "one", "cpu")
    same(again.snapshots[4], first.snapshots[4])
    assert again.record == continued.record
    with pytest.raises(RunError, match=r"past step 7 .* 4, 10, 12 "):
        trained(RUN, 7, tmp_path / "one", "cpu")


def test_its_record_says_what_was_trained_and_measures_its_snapshots(tmp_path: Path) -> None:
    found = trained(RUN, 11, tmp_path, "cpu")
    record = json.loads((RUN.folder(tmp_path) / "record.json").read_text())
    assert record == found.record
    assert RUN.folder(tmp_path) == tmp_path / record["name"] / f"seed{record['seed']}"
    assert record["config"]["game"] == "CodeMixup(c=0.2)"
    assert record["config"]["data"] == "ring"
    assert {"git", "versions", "device"} <= record["sessions"][0].keys()
    for step in (10, 11):
        expected = coverage(found.snapshots[step], found.real, ring()).as_dict()
        assert found.measured(step) == expected


def test_runs_that_differ_have_different_folders(tmp_path: Path) -> None:
    others = [
        GanRun("grid", "code", 0.2, 0),
        GanRun("ring", "paper", 0.2, 0),
        GanRun("ring", "code", 0.3, 0),
        GanRun("ring", "code", 0.2, 1),
    ]
    assert len({run.folder(tmp_path) for run in [RUN, *others]}) == 5


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_weights_that_are_not_finite_are_not_saved(name: str) -> None:
    loop = GanLoop(Setup(data=ring(), game=Vanilla()), 0)
    loop.check_weights()
    getattr(loop, name).fc.bias.data.fill_(torch.nan)
    with pytest.raises(DivergedError, match=rf"{name} .* step 0"):
        loop.check_weights()
