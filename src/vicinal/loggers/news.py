"""What a run tells the process that launched it: how far it is, and how fast."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

EVERY = 0.5  # seconds between two pieces of news
WINDOW = 10.0  # seconds of training that the rate averages over


@dataclass(frozen=True)
class News:
    """What a run tells its launcher while it trains, about twice per second."""

    done: float  # share of its steps
    rate: float  # samples per second over its last seconds of training, without evaluation
    unit: str  # images, words, …
    seconds_left: float | None
    line: str  # what its own progress bar would show


Listener = Callable[[News], None]
_LISTENERS: list[Listener] = []  # the launcher of this process, if it has one


def listen(listener: Listener) -> None:
    """Have the runs of this process tell their news."""
    _LISTENERS[:] = [listener]


def listener() -> Listener | None:
    """Whom to tell."""
    return _LISTENERS[0] if _LISTENERS else None


@dataclass
class Recent:
    """The speed over the last seconds of training, without what lies between epochs."""

    last: float  # when the last step or the last pause ended
    seconds: float = 0.0  # of training
    samples: int = 0
    _next: float = 0.0  # when to tell again
    _marks: deque[tuple[float, int]] = field(
        default_factory=lambda: deque([(0.0, 0)], maxlen=round(WINDOW / EVERY) + 1)
    )

    def step(self, now: float, samples: int) -> bool:
        """Count a step that has just ended; whether news are due."""
        self.seconds += now - self.last
        self.samples += samples
        self.last = now
        if now < self._next:
            return False
        self._next = now + EVERY
        self._marks.append((self.seconds, self.samples))
        return True

    def resume(self, now: float) -> None:
        """Leave out the time since the last step."""
        self.last = now

    @property
    def per_second(self) -> float:
        """Samples per second, between the oldest mark and the newest."""
        (began, before), (ended, samples) = self._marks[0], self._marks[-1]
        return (samples - before) / (ended - began) if ended > began else 0.0
