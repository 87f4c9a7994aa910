"""A run that is asked to stop does so where it can be continued, and loses nothing."""

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from whole_runs import execute, without_time
from wording import says

from vicinal.errors import PreemptedError, StoppedByUserError
from vicinal.evaluation.clean import Clean
from vicinal.loop import Loop
from vicinal.machine.signals import STOPPING, stopping
from vicinal.storage.evaluations import KeptParts
from vicinal.storage.run_folder import RunFolder

LATE = "runtime.checkpoint_seconds=1e9"


pytestmark = pytest.mark.usefixtures("interrupts")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The record of a run that was not disturbed."""
    return execute(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("number", "said", "code"),
    [
        (signal.SIGTERM, "stopped by SIGTERM", 75),
        (signal.SIGUSR2, "stopped by SIGUSR2", 75),
        (signal.SIGINT, "interrupted", 130),
    ],
)
def test_a_signal_is_obeyed_after_the_step_and_the_run_resumes_there(
    number: signal.Signals,
    said: str,
    code: int,
    whole: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    original = Loop.step

    def interrupted(self: Loop, *batch: object) -> None:
        if self.steps_done == 3:
            os.kill(os.getpid(), number)
        original(self, *batch)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "step", interrupted)
        with pytest.raises(PreemptedError) as error:
            execute(tmp_path / "out", LATE)
    place = "in epoch 2 of 2, after step 1 of 3"
    assert str(error.value) == f"{said} {place}; the same line again resumes"
    assert code == error.value.EXIT_CODE
    assert signal.getsignal(number) == before
    assert "resumed" not in capsys.readouterr().out
    resumed = execute(tmp_path / "out", LATE)
    first, *_ = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"resumed {place} \(checkpoint of \d{{4}}-\d\d-\d\d \d\d:\d\d\)", first)
    assert [session["from_step"] for session in resumed["sessions"]] == [0, 4]
    assert without_time(resumed) == without_time(whole)


@pytest.mark.parametrize(("epoch", "sessions"), [(1, [0, 3]), (2, [0, 6])])
def test_a_signal_while_an_epoch_is_measured_is_obeyed_after_it(
    epoch: int,
    sessions: list[int],
    whole: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the last one as well, so that no evaluation begins that could take hours."""
    original = Clean.__call__

    def interrupted(self: Clean, model: nn.Module, split: Any) -> dict[str, float]:
        measured.append(split)
        if len(measured) == 2 * epoch:  # of test and valid
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, model, split)

    measured = list[object]()
    with monkeypatch.context() as patch:
        patch.setattr(Clean, "__call__", interrupted)
        with pytest.raises(StoppedByUserError, match=f"^interrupted after epoch {epoch} of 2;"):
            execute(tmp_path, LATE)
    resumed = execute(tmp_path, LATE)
    assert [session["from_step"] for session in resumed["sessions"]] == sessions
    assert without_time(resumed) == without_time(whole)


def test_the_first_interrupt_is_answered_at_once_and_a_second_one_does_not_wait(
    capfd: pytest.CaptureFixture[str],
) -> None:
    said = list[str]()

    def interrupted() -> None:
        with stopping():
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                said.append(capfd.readouterr().err)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (line,) = said
    assert re.fullmatch(says("vicinal ... checkpoint ... Ctrl-C again ... at once") + ".*\n", line)
    assert capfd.readouterr().err == ""


def test_an_interrupt_after_the_last_step_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt), stopping():
        os.kill(os.getpid(), signal.SIGINT)


def test_where_interrupts_are_ignored_they_stay_ignored() -> None:
    """As a shell starts a job in the background, or `nohup` any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stopping() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        stop.obey(lambda: pytest.fail("it was obeyed"), str)


def test_an_evaluation_is_interrupted_at_once_and_keeps_its_parts(tmp_path: Path) -> None:
    def measure(name: str) -> dict[str, float]:
        if name == "b":
            os.kill(os.getpid(), signal.SIGINT)
        return {"top1": 50.0}

    parts = KeptParts(tmp_path / "evaluations" / "parts.json", "test", progress=False)
    with pytest.raises(KeyboardInterrupt):
        parts(["a", "b"], measure)
    assert parts(["a"], lambda _: pytest.fail("it was measured")) == {"a": {"top1": 50.0}}


def test_a_larger_batch_than_there_are_samples_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for size in (60, 61):
        execute(tmp_path / f"{size}", f"schedule.batch_size={size}", "schedule.epochs=1")
        told = "schedule.batch_size=61 ... 60 training samples ... one step"
        assert bool(re.search(says(told), capsys.readouterr().out)) == (size == 61)


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
            stop.obey(lambda: order.append("saved"), str)
            assert order == ["saved", number]
            stop.obey(lambda: order.append("saved again"), str)  # only once for a signal
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
                stop.obey(lambda: None, str)
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
            stop.obey(lambda: order.append("saved"), str)
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
    whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
