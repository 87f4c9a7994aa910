"""A run that is asked to stop does so where it can be continued, and loses nothing."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from whole_runs import execute, without_time
from wording import says

from vicinal.errors import PreemptedError
from vicinal.loop import Loop
from vicinal.machine.signals import STOPPING, stopping
from vicinal.storage.run_folder import RunFolder


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_is_obeyed_after_the_step_and_the_run_resumes_there(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = "runtime.checkpoint_seconds=1e9"
    whole = execute(tmp_path / "whole")
    original = Loop.step

    def interrupted(self: Loop, *batch: object) -> None:
        if self.steps_done == 3:
            os.kill(os.getpid(), number)
        original(self, *batch)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "step", interrupted)
        with pytest.raises(PreemptedError, match=says(f"{number.name} ... checkpoint ... resumes")):
            execute(tmp_path / "out", late)
    assert signal.getsignal(number) == before
    resumed = execute(tmp_path / "out", late)
    assert [session["from_step"] for session in resumed["sessions"]] == [0, 4]
    assert without_time(resumed) == without_time(whole)


@pytest.mark.parametrize("number", STOPPING)
def test_a_launcher_that_listened_before_is_told_after_the_checkpoint(number: int) -> None:
    order: list[object] = []

    def listener(number: int, frame: object) -> None:
        order.append(number)

    before = signal.signal(number, listener)
    try:
        with stopping() as stop:
            os.kill(os.getpid(), number)
            assert order == []
            stop.obey(lambda: order.append("saved"))
            assert order == ["saved", number]
            stop.obey(lambda: order.append("saved again"))  # only once for a signal
        assert order == ["saved", number]
        assert signal.getsignal(number) is listener  # again, once the run is over
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(("code", "ended"), [(-signal.SIGTERM, True), (1, False)])
def test_a_launcher_whose_command_was_ended_with_the_job_has_asked(code: int, ended: bool) -> None:
    """Slurm ends `scontrol requeue` with all else of the job, at times before it has returned."""

    def listener(number: int, frame: object) -> None:
        raise subprocess.CalledProcessError(code, ["scontrol", "requeue", "1"])

    before = signal.signal(signal.SIGUSR2, listener)
    try:
        with stopping() as stop:
            os.kill(os.getpid(), signal.SIGUSR2)
            with pytest.raises(SystemExit if ended else subprocess.CalledProcessError) as left:
                stop.obey(lambda: None)
            assert not ended or left.value.code == 75
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_of_two_signals_within_a_step_none_is_lost() -> None:
    """A preempted job of Slurm may get SIGUSR2, on which submitit requeues it, and SIGTERM."""
    order: list[object] = []
    before = {n: signal.signal(n, lambda number, _: order.append(number)) for n in STOPPING}
    try:
        with stopping() as stop:
            for number in (signal.SIGUSR2, signal.SIGTERM):
                os.kill(os.getpid(), number)
            stop.obey(lambda: order.append("saved"))
        assert order == ["saved", signal.SIGUSR2, signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_spoilt_network_is_not_saved_because_a_signal_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Loop.step

    def damaged(self: Loop, *batch: object) -> None:
        original(self, *batch)
        next(self.model.parameters()).data.fill_(float("nan"))
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Loop, "step", damaged)
    with pytest.raises(Exception, match=says("weights ... finite ... step 1 ... none")):
        execute(tmp_path, "runtime.checkpoint_seconds=1e9")
    assert not list(tmp_path.rglob("*.pt"))


def test_a_full_disk_is_named_and_costs_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = execute(tmp_path / "whole")
    original, write_bytes = RunFolder.save, Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        write_bytes(path, content[: len(content) // 2])
        raise OSError(28, "No space left on device")  # without a name, as write() raises it

    def save(self: RunFolder, loop: Loop) -> None:
        if loop.steps_done == 3:
            monkeypatch.setattr(Path, "write_bytes", full)
        original(self, loop)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save", save)
        with pytest.raises(OSError, match="No space") as error:
            execute(tmp_path / "out")
    monkeypatch.undo()
    assert Path(error.value.filename).parent.name == "checkpoints"
    assert [path.name[:21] for path in (tmp_path / "out").rglob("*.pt")]
    assert not list((tmp_path / "out").rglob(".*.tmp"))
    assert without_time(execute(tmp_path / "out")) == without_time(whole)
