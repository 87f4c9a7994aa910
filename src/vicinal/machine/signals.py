"""Signals that ask a run to stop: noted when they arrive, obeyed after a checkpoint."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from vicinal.errors import PreemptedError, StoppedByUserError
from vicinal.machine import ranks

STOPPING = (signal.SIGTERM, signal.SIGUSR2)  # sent by Slurm, Kubernetes and `kill` to preempt
RESUMES = "the same line again resumes"
NOTED = "vicinal: stopping as soon as a checkpoint is written; Ctrl-C again stops at once\n"


@dataclass
class Stop:
    """The signals that arrived and are not obeyed yet."""

    numbers: set[int] = field(default_factory=set)
    previous: dict[int, Any] = field(default_factory=dict)  # handlers, to be restored

    def note(self, number: int, frame: FrameType | None) -> None:
        """The signal handler: in the middle of a step it may only take note."""
        if number == signal.SIGINT:
            self._answer_user()
        self.numbers.add(number)

    def _answer_user(self) -> None:
        """Say at once what Ctrl-C does; a second one does not wait for the step."""
        if signal.SIGINT in self.numbers:
            raise KeyboardInterrupt
        if ranks.is_main():  # print() might be in the middle of another line
            os.write(2, (b"\n" if os.isatty(2) else b"") + NOTED.encode())

    def obey(self, save: Callable[[], None], where: Callable[[], str]) -> None:
        """If any rank got a signal: save, and end the run; the next attempt continues it.

        The error says `where` it stopped. A launcher may have installed a handler before us
        (submitit does, to requeue its job). It is called now, instead of in the middle of a step;
        if it returns, the run goes on.
        """
        came = {number for each in ranks.all_gather_object(sorted(self.numbers)) for number in each}
        if not came:
            return
        save()
        ranks.barrier()  # a rank that exits may end the others, and rank zero is still writing
        self.numbers -= came
        if signal.SIGINT in came:
            raise StoppedByUserError(f"interrupted {where()}; {RESUMES}")
        for number in sorted(came):
            launcher = self.previous.get(number)
            if not callable(launcher):
                raise _preempted(number, where)
            _call_launcher(launcher, number)
            try:
                ranks.barrier()
            except ranks.LostRankError:  # its launcher ended rank zero, and so all
                raise _preempted(number, where) from None


def _preempted(number: int, where: Callable[[], str]) -> PreemptedError:
    return PreemptedError(f"stopped by {signal.Signals(number).name} {where()}; {RESUMES}")


def _call_launcher(launcher: Callable[[int, FrameType | None], object], number: int) -> None:
    """Call a launcher's handler; its `scontrol` may die with the job that it requeues."""
    try:
        launcher(number, None)
    except subprocess.CalledProcessError as error:
        if -error.returncode not in STOPPING:
            raise
        sys.exit(PreemptedError.EXIT_CODE)


@contextmanager
def stopping(interrupts: bool = True) -> Iterator[Stop]:
    """Note signals inside this context; Python delivers them to the main thread only.

    Without `interrupts`, Ctrl-C is not among them and stops the process at once.
    """
    stop = Stop()
    if threading.current_thread() is threading.main_thread():
        numbers = [*STOPPING]
        if interrupts and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            numbers.append(signal.SIGINT)  # not where a shell or a launcher has it ignored
        for number in numbers:
            stop.previous[number] = signal.signal(number, stop.note)
    try:
        yield stop
        if signal.SIGINT in stop.numbers:  # it came after the last step
            raise KeyboardInterrupt
    finally:
        for number, handler in stop.previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
