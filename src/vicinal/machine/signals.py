"""Being asked to stop: noted when it comes, obeyed where a run can be continued."""

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

STOPPING = (signal.SIGTERM, signal.SIGUSR2)  # what Slurm, Kubernetes and `kill` send to preempt


@dataclass
class Stop:
    """The signals that came and are not obeyed yet."""

    numbers: set[int] = field(default_factory=set)
    previous: dict[int, Any] = field(default_factory=dict)  # handlers, to be put back

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler: nothing else is safe in the middle of a step."""
        self.numbers.add(number)

    def obey(self, save: Callable[[], None]) -> None:
        """Once a signal came to any rank: save, and end the run for another attempt to continue.

        A launcher that listened before us (submitit, to requeue its job) is told now instead of in
        the middle of a step; where its handler returns, it wanted the run to go on.
        """
        came = {number for each in ranks.all_gather_object(sorted(self.numbers)) for number in each}
        if not came:
            return
        save()
        ranks.barrier()  # who leaves may end the others, and the first is still writing
        self.numbers -= came
        for number in sorted(came):
            launcher = self.previous.get(number)
            if not callable(launcher):
                raise PreemptedError(signal.Signals(number).name)
            _call_launcher(launcher, number)
            try:
                ranks.barrier()
            except ranks.LostRankError:  # the first rank's launcher ended it, for all
                raise PreemptedError(signal.Signals(number).name) from None


def _call_launcher(launcher: Callable[[int, FrameType | None], object], number: int) -> None:
    """Where Slurm requeues a job it ends its processes: the one that asked it to may not return."""
    try:
        launcher(number, None)
    except subprocess.CalledProcessError as error:
        if -error.returncode not in STOPPING:
            raise
        sys.exit(PreemptedError.EXIT_CODE)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Notes the signals meanwhile; Python delivers them to the main thread alone."""
    stop = Stop()
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            stop.previous[number] = signal.signal(number, stop.note)
    try:
        yield stop
    finally:
        for number, handler in stop.previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
