"""What our runs say about each number, and about each pair that a paper orders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import mean, stdev
from typing import Any

from vicinal.tables import verdicts
from vicinal.tables.cell import Cell
from vicinal.tables.plan import PlannedRun
from vicinal.tables.table import Claim
from vicinal.tables.verdicts import Deviation, Interval

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What our runs say about one cell."""

    cell: Cell
    run: PlannedRun | None  # None if the cell is unavailable or a definition
    values: Mapping[int, float]  # by planned seed or, if `reduced`, at another budget
    failed: tuple[int, ...] = ()
    reduced: tuple[str, ...] = ()  # what differs from the protocol
    records: tuple[Record, ...] = field(default=(), repr=False)
    pooled: Deviation | None = None
    counted: float | None = None  # a number that needs no run
    warnings: tuple[str, ...] = ()  # what checks of the evaluations say against our number
    # Of a cost:
    plain: Mapping[int, float] = field(default_factory=dict)  # plain training's beside it, by seed
    devices: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return mean(self.values.values()) if self.values else self.counted

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds."""
        return stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def ratio(self) -> float | None:
        """Of a cost, ours over that of plain training which was measured beside it."""
        return mean(self.values.values()) / mean(self.plain.values()) if self.plain else None

    @cached_property
    def difference(self) -> Interval | None:
        """Ours minus the paper's, with its uncertainty; None where that is not known."""
        if (
            not self.values
            or self.cell.printed is None
            or self.cell.over is not None
            or (self.reduced and len(self.values) == 1)
        ):
            return None
        pooled = None if self.reduced else self.pooled  # it says nothing about reduced runs
        return verdicts.against_paper(list(self.values.values()), self.cell, pooled)

    @property
    def complete(self) -> bool:
        """Whether every planned seed has finished."""
        return set(self.cell.seeds) <= self.values.keys()

    @property
    def verdict(self) -> str:
        """The verdict, in the words of `verdicts`; of a number that no paper prints, `measured`."""
        if self.cell.definition:
            return "definition"
        if self.cell.unavailable is not None:
            return "unavailable"
        if self.counted is not None:
            if self.cell.printed is None:
                return "counted"
            ours, paper = (f"{x:.{self.cell.decimals}f}" for x in (self.counted, self.cell.value))
            return "equal" if ours == paper else "unequal"
        if not self.values:
            return "failed" if self.failed else "not run"
        return "reduced" if self.reduced else self._judge(self.complete)

    @property
    def verdict_so_far(self) -> str:
        """The verdict if no more seeds were planned."""
        return self._judge(complete=True)

    @property
    def different(self) -> str:
        """The answer to the first question of `verdicts`: better, worse, differs or no."""
        if self.difference is None:
            return ""
        return verdicts.different(self.difference, self.cell) or "no"

    @property
    def within(self) -> str:
        """The answer to the second question, whether it is within the margin: yes or no."""
        if self.difference is None:
            return ""
        return "yes" if self.difference.within(verdicts.margin(self.cell)) else "no"

    def _judge(self, complete: bool) -> str:
        if self.cell.printed is None:
            ended = set(self.cell.seeds) <= {*self.values, *self.failed}
            return "measured" if complete or ended else "interim"
        if self.ratio is not None:
            same = verdicts.same_ratio(self.ratio, self.cell)
            return "reference" if self.cell.is_reference else same
        num_runs, failed = len(self.values), bool(self.failed)
        return verdicts.verdict(self.difference, self.cell, num_runs, complete, failed)


@dataclass(frozen=True)
class Ordering:
    """What our runs say about one pair of cells that the paper orders."""

    claim: Claim
    better: Outcome
    worse: Outcome

    @property
    def num_seeds(self) -> int:
        """How many seeds the two share."""
        return len(self.better.values.keys() & self.worse.values.keys())

    @property
    def paper_agrees(self) -> bool | None:
        """Whether the paper's own numbers support its claim; None if it prints none."""
        better, worse = self.better.cell, self.worse.cell
        if better.printed is None or worse.printed is None:
            return None
        return self._sign * (better.value - worse.value) > 0

    @cached_property
    def gain(self) -> Interval | None:
        """The advantage in our runs, positive where the claim holds."""
        better, worse = self.better, self.worse
        if self.exact:
            assert better.mean is not None
            assert worse.mean is not None
            return Interval(self._sign * (better.mean - worse.mean), 0.0, "counted")
        if better.reduced != worse.reduced:
            return None
        if better.ratio is not None and worse.ratio is not None:
            return verdicts.ratio_gain(better.ratio, worse.ratio, self._sign)
        pooled = None if self.reduced else better.pooled
        overlap = better.cell.overlap
        return verdicts.paired_gain(better.values, worse.values, self._sign, overlap, pooled)

    @property
    def verdict(self) -> str:
        """Whether the ordering holds in our runs."""
        if self.exact:
            return verdicts.ordering(self.gain, 0, complete=True, failed=False)
        better, worse = self.better, self.worse
        if not better.values or not worse.values:
            return "not run"
        if self.of_costs:
            return verdicts.ordering(self.gain, 0, complete=True, failed=False)
        complete, failed = better.complete and worse.complete, bool(better.failed or worse.failed)
        return verdicts.ordering(self.gain, self.num_seeds, complete, failed)

    @property
    def exact(self) -> bool:
        """Whether it compares numbers that need no run."""
        return self.better.counted is not None and self.worse.counted is not None

    @property
    def of_costs(self) -> bool:
        """Whether it compares what methods cost."""
        return self.better.cell.group == self.worse.cell.group == "costs"

    @property
    def reduced(self) -> bool:
        """Whether these runs have another budget than the paper's."""
        return bool(self.better.reduced or self.worse.reduced)

    @property
    def _sign(self) -> int:
        return -1 if self.better.cell.better == "lower" else 1
