"""What our runs say about each number, and about each pair that a paper orders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import mean, stdev
from typing import Any

from vicinal.tables import verdicts
from vicinal.tables.cell import Cell
from vicinal.tables.plan import Planned
from vicinal.tables.table import Claim
from vicinal.tables.verdicts import Deviation, Interval

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What our runs say about one cell."""

    cell: Cell
    run: Planned | None  # None where it waits, or is so by definition
    values: Mapping[int, float]  # by planned seed or, where `reduced`, at another budget
    failed: tuple[int, ...] = ()
    reduced: tuple[str, ...] = ()  # what differs from the protocol
    records: tuple[Record, ...] = field(default=(), repr=False)
    pooled: Deviation | None = None
    counted: float | None = None  # what no run is needed for

    @property
    def mean(self) -> float | None:
        """Over seeds."""
        return mean(self.values.values()) if self.values else self.counted

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds."""
        return stdev(self.values.values()) if len(self.values) > 1 else None

    @cached_property
    def difference(self) -> Interval | None:
        """Ours minus the paper's, with its uncertainty, where that is known."""
        if not self.values or (self.reduced and len(self.values) == 1):
            return None
        pooled = None if self.reduced else self.pooled  # what a reduced run scatters is not known
        return verdicts.against_paper(list(self.values.values()), self.cell, pooled)

    @property
    def whole(self) -> bool:
        """Whether every planned seed has finished."""
        return set(self.cell.seeds) <= self.values.keys()

    @property
    def verdict(self) -> str:
        """In the words of `verdicts`."""
        if self.cell.definition:
            return "definition"
        if self.cell.waits is not None:
            return "waits"
        if self.counted is not None:
            ours, paper = (f"{x:.{self.cell.decimals}f}" for x in (self.counted, self.cell.value))
            return "equal" if ours == paper else "unequal"
        if not self.values:
            return "failed" if self.failed else "not run"
        return "reduced" if self.reduced else self._judged(self.whole)

    @property
    def so_far(self) -> str:
        """What the verdict would be if no more seeds were planned."""
        return self._judged(whole=True)

    @property
    def different(self) -> str:
        """The first of the two answers: better, worse, differs or no."""
        found = self.difference
        return (verdicts.different(found, self.cell) or "no") if found else ""

    @property
    def within(self) -> str:
        """The second: whether the difference lies within the margin, yes or no."""
        found = self.difference
        return ("yes" if found.within(verdicts.margin(self.cell)) else "no") if found else ""

    def _judged(self, whole: bool) -> str:
        runs, failed = len(self.values), bool(self.failed)
        return verdicts.verdict(self.difference, self.cell, runs, whole, failed)


@dataclass(frozen=True)
class Compared:
    """What our runs say about one pair of cells that the paper orders."""

    claim: Claim
    better: Outcome
    worse: Outcome

    @property
    def seeds(self) -> int:
        """How many are shared."""
        return len(self.better.values.keys() & self.worse.values.keys())

    @property
    def printed(self) -> bool:
        """Whether the paper's own numbers bear its claim out."""
        return self._sign * (self.better.cell.value - self.worse.cell.value) > 0

    @cached_property
    def gain(self) -> Interval | None:
        """The advantage in our runs, positive where the claim holds."""
        one, two = self.better, self.worse
        if self.counted:
            assert one.mean is not None
            assert two.mean is not None
            return Interval(self._sign * (one.mean - two.mean), 0.0, "counted")
        if one.reduced != two.reduced:
            return None
        pooled = None if self.reduced else one.pooled
        overlap = one.cell.overlap
        return verdicts.paired(one.values, two.values, self._sign, overlap, pooled)

    @property
    def verdict(self) -> str:
        """Whether the ordering holds in our runs."""
        one, two = self.better, self.worse
        if self.counted:
            return verdicts.ordering(self.gain, 0, whole=True, failed=False)
        if not one.values or not two.values:
            return "not run"
        whole, failed = one.whole and two.whole, bool(one.failed or two.failed)
        return verdicts.ordering(self.gain, self.seeds, whole, failed)

    @property
    def counted(self) -> bool:
        """Whether it is decided without a run."""
        return self.better.counted is not None and self.worse.counted is not None

    @property
    def reduced(self) -> bool:
        """Whether these runs have another budget than the paper's."""
        return bool(self.better.reduced or self.worse.reduced)

    @property
    def _sign(self) -> int:
        return -1 if self.better.cell.better == "lower" else 1
