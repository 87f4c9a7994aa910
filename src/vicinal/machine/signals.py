"""Signals that ask a run to stop: noted when they arrive, obeyed after a checkpoint."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from vicinal.errors import PreemptedError
from vicinal.machine import ranks

STOPPING = (signal.SIGTERM, signal.SIGUSR2)  # sent by Slurm, Kubernetes and `kill` to preempt


@dataclass
class Stop:
    """The signals that arrived and are not obeyed yet."""

    numbers: set[int] = field(default_factory=set)
    previous: dict[int, Any] = field(default_factory=dict)  # handlers, to be restored

    def note(self, number: int, frame: FrameType | None) -> None:
        """The signal handler: in the middle of a step it may only take note."""
        self.numbers.add(number)

    def obey(self, save: Callable[[], None]) -> None:
        """If any rank got a signal: save, and end the run; the next attempt continues it.

        A launcher may have installed a handler before us (submitit does, to requeue its job). It is
        called now, instead of in the middle of a step; if it returns, the run goes on.
        """
        came = {number for each in ranks.all_gather_object(sorted(self.numbers)) for number in each}
        if not came:
            return
        save()
        ranks.barrier()  # a rank that exits may end the others, and rank zero is still writing
        self.numbers -= came
        for number in sorted(came):
            launcher = self.previous.get(number)
            if not callable(launcher):
                raise PreemptedError(signal.Signals(number).name)
            _call_launcher(launcher, number)
            try:
                ranks.barrier()
            except ranks.LostRankError:  # its launcher ended rank zero, and so all
                raise PreemptedError(signal.Signals(number).name) from None


def _call_launcher(launcher: Callable[[int, FrameType | None], object], number: int) -> None:
    """Call a launcher's handler; its `scontrol` may die with the job that it requeues."""
    try:
        launcher(number, None)
    except subprocess.CalledProcessError as error:
        if -error.returncode not in STOPPING:
            raise
        sys.exit(PreemptedError.EXIT_CODE)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Note signals inside this context; Python delivers them to the main thread only."""
    stop = Stop()
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            stop.previous[number] = signal.signal(number, stop.note)
    try:
        yield stop
    finally:
        for number, handler in stop.previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
