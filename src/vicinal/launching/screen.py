"""One screen for all runs of a sweep: a line for the plan and a line per running run."""

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from vicinal.launching.jobs import Job
from vicinal.launching.names import common, short_names, shortened
from vicinal.loggers.progress import REFRESH_SECONDS, can_draw, duration

STATE_SECONDS = 60.0  # between lines of the plan's state where there is no terminal
BAR = 20  # characters, where the terminal is wide
COLUMNS = 55  # of a line beside the name and the bar
WIDE = 100  # characters of a terminal from which there is a bar


@dataclass
class Screen:
    """Shows jobs: on a terminal a picture below the lines of ended jobs, elsewhere lines alone."""

    console: Console = field(default_factory=lambda: Console(stderr=True))
    _live: Live | None = field(init=False, repr=False)
    _lasted: dict[int, float] = field(default_factory=dict, init=False)  # seconds of ended jobs
    _names: dict[int, str] = field(default_factory=dict, init=False)
    _named: tuple[int, int] = field(default=(0, 0), init=False)  # how many jobs, and the width
    _next: float = field(default=-math.inf, init=False)  # when to show the state again

    def __post_init__(self) -> None:
        self._live = _live(self.console) if can_draw(self.console) else None

    def __enter__(self) -> "Screen":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, jobs: Sequence[Job], now: float) -> None:
        """Call often; prints a line per job that ended since, and draws or prints the state."""
        self._name(jobs)
        ended = [job for job in jobs if job.ending is not None and job.number not in self._lasted]
        for job in ended:
            self._lasted[job.number] = 0.0 if job.began is None else now - job.began
            print(self._end(job), flush=True)
        if now < self._next and not (ended and self._live is not None):
            return
        if self._live is not None:
            self._live.update(Text("\n".join(self._picture(jobs, now))), refresh=True)
        elif self._next > -math.inf:
            print(self._state(jobs, now), flush=True)
        self._next = now + (STATE_SECONDS if self._live is None else REFRESH_SECONDS)

    def _name(self, jobs: Sequence[Job]) -> None:
        """Name the jobs, if there are others or the width is another."""
        width = self.console.width
        if self._named != (len(jobs), width):
            room = width - COLUMNS - (BAR + 2 if width >= WIDE else 0)
            names = short_names([job.overrides for job in jobs], max(room, 10))
            self._names = {job.number: name for job, name in zip(jobs, names, strict=True)}
            self._named = len(jobs), width

    def _picture(self, jobs: Sequence[Job], now: float) -> list[str]:
        """The plan, what all jobs share, and as many running jobs as there is room for."""
        lines = [self._state(jobs, now)]
        if shared := common([job.overrides for job in jobs]):
            lines.append(f"all: {' '.join(shared)}")
        running = [self._line(job) for job in jobs if job.running]
        room = max(1, self.console.height - len(lines) - 2)
        lines += running[:room]
        if len(running) > room:
            lines.append(f"and {len(running) - room} more")
        return [shortened(line, self.console.width) for line in lines]

    def _line(self, job: Job) -> str:
        """A running job."""
        name = self._names[job.number]
        width = max(map(len, self._names.values()))
        where = "cpu" if job.device is None else f"gpu {job.device}"
        words = [f"#{job.number:<4}{name:<{width}}", f"{where:6}"]
        if job.news is None:
            return "  ".join([*words, "starts"])
        if self.console.width >= WIDE:
            words.append(_bar(job.news.done))
        rate, left = f"{job.news.rate:,.0f} {job.news.unit}/s", _left(job.news.seconds_left)
        return "  ".join([*words, f"{100 * job.news.done:3.0f} %", f"{rate:>15}", left])

    def _end(self, job: Job) -> str:
        """A job that ended."""
        lasted = duration(self._lasted[job.number])
        how = "finished" if job.ending == "" else "failed"
        words = f"#{job.number:<4}{self._names[job.number]}  {how} after {lasted}"
        return f"{words}: {job.ending}" if job.ending else words

    def _state(self, jobs: Sequence[Job], now: float) -> str:
        """The plan: how many jobs are in which state, how fast, and how long it will take."""
        failed = sum(bool(job.ending) for job in jobs)
        running = [job for job in jobs if job.running]
        counts = {
            "done": sum(job.ending == "" for job in jobs),
            "running": len(running),
            "waiting": sum(job.began is None and job.ending is None for job in jobs),
            "failed": failed,
        }
        rates = Counter[str]()
        for job in running:
            if job.news is not None:
                rates[job.news.unit] += job.news.rate  # pyright: ignore[reportArgumentType]
        said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        speeds = [f"{rate:,.0f} {unit}/s" for unit, rate in rates.items()]
        left = plan_left(jobs, [self._lasted[j.number] for j in jobs if j.ending == ""], now)
        return "  ".join([said, *speeds, _left(left)])


def plan_left(jobs: Sequence[Job], finished: Sequence[float], now: float) -> float | None:
    """The seconds until all jobs have ended; None before anything is known.

    A job's length is its own where it is running and tells its time left, and else the mean L of
    the finished and of these. With R the sum of the running jobs' times left, W jobs waiting and
    P running, it is the larger of (R + W L) / P and the longest time left.
    """
    running = [job for job in jobs if job.running]
    waiting = sum(job.began is None and job.ending is None for job in jobs)
    told = {
        job.number: job.news.seconds_left
        for job in running
        if job.news is not None and job.news.seconds_left is not None
    }
    since = {job.number: now - (job.began or 0.0) for job in running}
    lengths = [*finished, *(since[number] + left for number, left in told.items())]
    if not running and not waiting:
        return 0.0
    if not lengths:
        return None
    mean = fmean(lengths)
    each = [told.get(job.number, max(0.0, mean - since[job.number])) for job in running]
    return max([(sum(each) + waiting * mean) / max(1, len(running)), *each])


def _left(seconds: float | None) -> str:
    return "? left" if seconds is None else f"{duration(seconds)} left"


def _bar(done: float) -> str:
    full = round(BAR * done)
    return "━" * full + "─" * (BAR - full)


def _live(console: Console) -> Live:
    return Live(
        console=console,
        auto_refresh=False,  # no thread: `show` decides when to draw
        transient=True,  # the lines of ended jobs stay
        redirect_stdout=sys.stdout.isatty(),  # output piped into a file must get there
        redirect_stderr=False,
    )
