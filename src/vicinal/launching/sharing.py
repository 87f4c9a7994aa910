"""Where the next run may start, and how many runs share a GPU.

A GPU begins with one run and gets more while that pays: once all its runs train at steady rates,
their number is doubled, as far as their largest peak of memory so far fits into what is free. When
all are steady again, the total's growth from n runs to m is m/n times the mean change of the rates
of those runs that were measured with n and with m, so that different runs can be compared; a
newcomer is taken to be as fast, relative to itself alone, as they are. The new places are kept if
the total grew by more than GROWTH, or by half of what m - n runs can bring, and if no run lasted
long enough to tell. If not, they are closed as runs end, and one more is tried when none of the
runs that spoke against them is left. After a change of the runs on a GPU, rates count only once
every newcomer trains, and only while the halves of a window agree, so compilation is not measured.
A run that is silent for long, as in an evaluation, has a place but no part in the measurement. A
GPU on which a run dies out of memory gets one place fewer. The rule has been tested in simulations,
and on no GPU.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from vicinal.launching.gpus import VISIBLE, Gpu, Memory, memories
from vicinal.launching.jobs import Job, News
from vicinal.launching.places import Place

GROWTH = 0.1
WINDOW = 32  # rates, each of which tells of a run's last seconds; two arrive per second
AGREE = 0.05  # largest difference of a steady window's halves
MOST = 32  # runs on a GPU: MPS serves 48
QUIET = 30.0  # seconds without news, after which a run is left out of the measurement
STARTS = 900.0  # seconds that a run may take until it trains; longer is silence, too
SETTLES = 10.0  # seconds of training that a rate averages over, and in which memory is taken
MARGIN = 1.1  # on a peak of memory
READING = 10.0  # seconds between looks at the memory

Read = Callable[[Sequence[Gpu]], Sequence[Memory | None]]


@dataclass
class Watched:
    """The rates of a running job."""

    news: News | None = None
    first: float | None = None  # when it first told a rate
    told: float | None = None  # and last
    window: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    levels: dict[int, float] = field(default_factory=dict)  # steady rates, by the number of runs

    def hear(self, news: News | None, now: float, counts: bool) -> None:
        """Note a rate, if it is a new one, and whether it counts."""
        if news is not None and news is not self.news and news.rate > 0:
            self.told = now
            self.first = now if self.first is None else self.first
            if counts:
                self.window.append(news.rate)
        self.news = news

    def silent(self, began: float, now: float) -> bool:
        """Whether it has told no rate for long."""
        return now - began > STARTS if self.told is None else now - self.told > QUIET

    @property
    def level(self) -> float | None:
        """Its rate, once that is steady."""
        if len(self.window) < WINDOW:
            return None
        rates = list(self.window)
        first, second = median(rates[: WINDOW // 2]), median(rates[WINDOW // 2 :])
        return None if abs(first / second - 1) > AGREE else (first + second) / 2


@dataclass
class Device:
    """What is known of a GPU."""

    places: int
    limit: int = MOST  # fewer after a run was out of memory
    tried: int | None = None  # the number of runs before places that are being tried
    refused: frozenset[int] = frozenset()  # the runs that spoke against more
    since: float = 0.0  # when its runs last changed, or one of them last had not trained yet
    others: int = 0  # MiB that were in use before any run
    peak: float | None = None  # MiB, the most of a run so far
    watched: dict[int, Watched] = field(default_factory=dict)

    def watch(self, jobs: Sequence[Job], now: float) -> bool:
        """Note the rates of its running jobs; whether all are steady, if that matters."""
        if set(self.watched) != {job.number for job in jobs}:
            self.watched = {job.number: self.watched.get(job.number, Watched()) for job in jobs}
            self._forget(now)
        heard, starting = [], False
        for job in jobs:
            run = self.watched[job.number]
            run.hear(job.news, now, now - self.since >= SETTLES)
            if not run.silent(job.began or 0.0, now):
                heard.append(run)
                starting |= run.told is None
        if starting:
            self._forget(now)
        if self.tried is None and not self.willing:
            return False  # nothing depends on it
        for run in heard:
            level = run.level
            if level is None:
                return False
            run.levels[len(jobs)] = level
        return bool(heard)

    def judge(self) -> None:
        """Keep or close the places that were added, now that rates are steady."""
        count = len(self.watched)
        if self.tried is None or count <= self.tried:
            return
        before = self.tried
        both = [run.levels for run in self.watched.values() if {before, count} <= set(run.levels)]
        grew = count / before * fmean(each[count] / each[before] for each in both) if both else None
        self.tried, self.places = None, count
        if grew is not None and grew < 1 + min(GROWTH, (count / before - 1) / 2):
            self.places, self.refused = before, frozenset(self.watched)

    def grow(self) -> None:
        """Add places to be tried."""
        self.tried = len(self.watched)
        self.places = min(self.tried + (1 if self.refused else self.tried), self.limit)

    @property
    def willing(self) -> bool:
        """Whether more may be tried."""
        room = len(self.watched) == self.places < self.limit
        return room and self.tried is None and not self.refused & set(self.watched)

    def close(self, others: int) -> None:
        """Leave places for as many as are left after one died out of memory."""
        self.places = self.limit = max(1, min(self.places, others))
        self.tried = None

    def fits(self, memory: Memory, read_at: float) -> bool:
        """Whether one more fits, beside those that had not taken their memory by then."""
        trained = [run.first for run in self.watched.values() if run.first is not None]
        training = sum(read_at - first >= SETTLES for first in trained)
        if training:
            used = memory.total - memory.free - self.others
            self.peak = max(self.peak or 0.0, used / training)
        coming = len(self.watched) - training + 1
        return self.peak is not None and MARGIN * coming * self.peak <= memory.free

    def _forget(self, now: float) -> None:
        self.since = now
        for run in self.watched.values():
            run.window.clear()


@dataclass
class Sharing:
    """Places for runs on some GPUs."""

    gpus: Sequence[Gpu]
    per_device: int | None = None  # None: measured
    read: Read = memories
    _states: list[Device] = field(init=False, repr=False)
    _memory: Sequence[Memory | None] = field(default=(), init=False)
    _read_at: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._states = [Device(self.per_device or 1) for _ in self.gpus]
        if self.per_device is None:
            for state, memory in zip(self._states, self.read(self.gpus), strict=True):
                state.others = memory.total - memory.free if memory is not None else 0

    def device(self, jobs: Sequence[Job], now: float) -> Place | None:
        """Where the next job may start now: of the GPUs with a place, that with the fewest runs."""
        running = [[job for job in jobs if job.running and job.device == k] for k in self._range]
        open_ = [k for k in self._range if self._has_place(k, running[k], now)]
        if not open_:
            return None
        chosen = min(open_, key=lambda k: len(running[k]))
        state = self._states[chosen]
        if len(running[chosen]) >= state.places:
            state.grow()
        return Place(chosen, {VISIBLE: self.gpus[chosen].visible})

    def ended(self, job: Job, jobs: Sequence[Job]) -> bool:
        """Note what a job died of; whether to start it again, since others had taken its memory."""
        if job.device is None or "out of memory" not in (job.ending or "").lower():
            return False
        others = sum(each.running and each.device == job.device for each in jobs)
        self._states[job.device].close(others)
        return others > 0

    @property
    def _range(self) -> range:
        return range(len(self.gpus))

    def _has_place(self, device: int, jobs: Sequence[Job], now: float) -> bool:
        state, count = self._states[device], len(jobs)
        if self.per_device is not None:
            return count < state.places
        steady = state.watch(jobs, now)
        if steady:
            state.judge()
        if count == 0:
            return True
        if count >= state.places and not (steady and state.willing):
            return False
        return self._fits(device, now)

    def _fits(self, device: int, now: float) -> bool:
        """Whether one more run fits into the GPU's memory."""
        if self._read_at is None or now - self._read_at >= READING:
            self._memory, self._read_at = self.read(self.gpus), now
        memory = self._memory[device]
        return memory is not None and self._states[device].fits(memory, self._read_at)
