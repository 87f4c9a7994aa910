"""Shows progress: one line per epoch, and on a terminal a bar below them."""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from vicinal.loggers.news import Listener, News, Recent, listener

REFRESH_SECONDS = 0.5
ESTIMATE_SECONDS = 30.0  # of training, after which a first epoch without an end is told of
WINDOW_EPOCHS = 5  # that the rate averages over; the first one compiles and is slow
SHOWN = {
    "train_loss": "loss {:.3f}",
    "valid_top1": "valid {:.2f} %",
    "test_top1": "test {:.2f} %",
    "test_average_precision": "test AP {:.2f} %",
    "valid_perplexity": "valid perplexity {:.2f}",
    "test_perplexity": "test perplexity {:.2f}",
}


@dataclass
class Rate:
    """The speed of a run, from the clock alone: it never waits for the device."""

    steps: int  # done
    total_steps: int
    clock: Callable[[], float]
    _marks: deque[tuple[float, int]] = field(init=False)  # ends of the last epochs, and the start
    _epoch_began: float = field(init=False)
    _last_step: float = field(init=False)
    _epoch_samples: int = field(default=0, init=False)
    _last_epoch: float = field(default=0.0, init=False)  # its samples per second

    def __post_init__(self) -> None:
        now = self.clock()
        self._epoch_began = self._last_step = now
        self._marks = deque([(now, self.steps)], maxlen=WINDOW_EPOCHS + 1)

    def step(self, samples: int) -> float:
        """Count one training step; returns the time."""
        self.steps += 1
        self._epoch_samples += samples
        self._last_step = self.clock()
        return self._last_step

    def end_epoch(self) -> None:
        """Close the epoch; the time since its last step went to evaluation and checkpoints."""
        self._last_epoch = self.per_second
        self._epoch_began = self._last_step = self.clock()
        self._epoch_samples = 0
        self._marks.append((self._epoch_began, self.steps))

    @property
    def began(self) -> float:
        """When this epoch began."""
        return self._epoch_began

    @property
    def per_second(self) -> float:
        """The training speed in this epoch or else the last, without evaluation."""
        seconds = self._last_step - self._epoch_began
        return self._epoch_samples / seconds if seconds > 0 else self._last_epoch

    @property
    def seconds_left(self) -> float | None:
        """The time left, including evaluation; None before the first step."""
        began, steps = self._marks[0]
        if self.steps == steps:
            return None
        return (self.total_steps - self.steps) * (self.clock() - began) / (self.steps - steps)


@dataclass(kw_only=True)
class Progress:
    """The progress of one run, whose first epoch is 1.

    The bar goes to stderr and lines go to stdout, above the bar where both are the same terminal.
    """

    epochs: int
    steps_per_epoch: int  # of the first, where epochs differ a little
    start_step: int = 0  # where a resumed run continues
    unit: str = "images"  # that steps count
    enabled: bool = True
    clock: Callable[[], float] = time.monotonic
    console: Console = field(default_factory=lambda: Console(stderr=True))
    listener: Listener | None = field(default_factory=listener)  # what launched the run
    _recent: Recent = field(init=False, repr=False)
    _rate: Rate = field(init=False, repr=False)
    _bar: Bar | None = field(init=False, repr=False)
    _task: TaskID = field(default=TaskID(0), init=False, repr=False)
    _values: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _next_refresh: float = field(default=-math.inf, init=False, repr=False)
    # Since the first step, which is slow where it compiles.
    _since: Rate | None = field(default=None, init=False, repr=False)
    _told: bool = field(default=False, init=False, repr=False)  # an epoch, or an estimate

    def __post_init__(self) -> None:
        total_steps = self.epochs * self.steps_per_epoch
        self._rate = Rate(self.start_step, total_steps, self.clock)
        self._recent = Recent(self._rate.began)
        shown = self.enabled and can_draw(self.console)
        self._bar = _bar(self.console, self.clock) if shown else None

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            total, done = self._rate.total_steps, self._rate.steps
            self._task = self._bar.add_task(self._state(), total=total, completed=done)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._refresh()
            self._bar.stop()

    def step(self, samples: int) -> None:
        """Call after each training step on so many samples; draws at most twice per second."""
        now = self._rate.step(samples)
        if self.listener is not None and self._recent.step(now, samples):
            self.listener(self._news())
        if self._bar is not None and now >= self._next_refresh:
            self._refresh()
            self._next_refresh = now + REFRESH_SECONDS
        elif self._bar is None and self.enabled and not self._told:
            self._estimate(samples)

    def _estimate(self, samples: int) -> None:
        """Once, in the middle of a long first epoch, print how long the whole run will take."""
        if self._since is None:
            self._since = Rate(self._rate.steps, self._rate.total_steps, self.clock)
            return
        began = self._since.began
        if self._since.step(samples) - began < ESTIMATE_SECONDS:
            return
        first = self._rate.steps // self.steps_per_epoch + 1
        left, speed = self._since.seconds_left or 0.0, self._since.per_second
        rate = f"{speed:,.0f} {self.unit}/s"
        print(f"about {duration(left)} for epochs {first} to {self.epochs} at {rate}", flush=True)
        self._told = True

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Call at the end of an epoch; shows those of `values` that are in SHOWN."""
        self._values |= values
        self._rate.steps = epoch * self.steps_per_epoch
        self._rate.end_epoch()
        self._recent.resume(self._rate.began)
        self._told = True
        if self.enabled:
            parts = [f"epoch {epoch:{len(str(self.epochs))}}/{self.epochs}", *self._shown()]
            print(*parts, self._speed(), self._left(), sep="  ", flush=True)
        if self._bar is not None:
            self._refresh()

    def _shown(self) -> list[str]:
        return [form.format(self._values[k]) for k, form in SHOWN.items() if k in self._values]

    def _speed(self) -> str:
        return f"{self._rate.per_second:,.0f} {self.unit}/s"

    def _left(self) -> str:
        if self._rate.steps >= self._rate.total_steps:
            return "done"
        seconds = self._rate.seconds_left
        return "? left" if seconds is None else f"{duration(seconds)} left"

    def _news(self) -> News:
        rate = self._rate
        done = min(rate.steps / rate.total_steps, 1.0)
        return News(done, self._recent.per_second, self.unit, rate.seconds_left, self._state())

    def _refresh(self) -> None:
        assert self._bar is not None
        done, state = self._rate.steps, self._state()
        self._bar.update(self._task, completed=done, description=state, refresh=True)

    def _state(self) -> str:
        done = self._rate.steps
        epoch = min(done // self.steps_per_epoch + 1, self.epochs)
        step = done - (epoch - 1) * self.steps_per_epoch
        where = [f"epoch {epoch}/{self.epochs}", f"step {step}/{self.steps_per_epoch}"]
        return "  ".join([*where, *self._shown(), self._speed(), self._left()])


def can_draw(console: Console) -> bool:
    """Whether it is a terminal on which lines can be drawn over."""
    return console.is_terminal and not console.is_dumb_terminal


@contextmanager
def counting(title: str, done: int, total: int, enabled: bool) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, on stderr, which each call moves by one; elsewhere nothing is shown."""
    console = Console(stderr=True)
    if not (enabled and total > 1 and can_draw(console)):
        yield lambda: None
        return
    with Bar(*Bar.get_default_columns(), MofNCompleteColumn(), console=console) as bar:
        task = bar.add_task(title, total=total, completed=done)
        yield lambda: bar.advance(task)


def duration(seconds: float) -> str:
    """Format with at most two units: 45 s, 23 min, 2 h 05 min, 3 d 04 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24} d {hours % 24:02} h"


def _bar(console: Console, clock: Callable[[], float]) -> Bar:
    return Bar(
        BarColumn(bar_width=20),
        TextColumn("{task.description}", markup=False),
        console=console,
        auto_refresh=False,  # no thread: `step` decides when to draw
        get_time=clock,
        transient=True,  # the lines of the epochs stay
        redirect_stdout=sys.stdout.isatty(),  # output piped into a file must get there
    )
