"""Being asked to stop: noted when it comes, obeyed where a run can be continued."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from vicinal import ranks
from vicinal.errors import PreemptedError

STOPPING = (signal.SIGTERM, signal.SIGUSR2)  # what Slurm, Kubernetes and `kill` send to preempt


@dataclass
class Stop:
    """The last signal that came, if any."""

    number: int | None = None
    previous: dict[int, Any] = field(default_factory=dict)  # handlers, to be put back

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler: nothing else is safe in the middle of a step."""
        self.number = number

    def obey(self, save: Callable[[], None]) -> None:
        """Once a signal came to any rank: save, and end the run for another attempt to continue.

        A launcher that listened before us (submitit, to requeue its job) is told now instead of in
        the middle of a step; where its handler returns, it wanted the run to go on.
        """
        number = next(filter(None, ranks.heard(self.number)), None)
        if number is None:
            return
        save()
        self.number = None
        launcher = self.previous.get(number)
        if callable(launcher):
            launcher(number, None)
        else:
            raise PreemptedError(signal.Signals(number).name)


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
