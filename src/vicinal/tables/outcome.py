"""Cells joined with records: ours beside the paper's."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import mean, stdev
from typing import Any

from omegaconf.errors import ConfigAttributeError

from vicinal.tables import verdicts
from vicinal.tables.cell import MEASURES, Cell
from vicinal.tables.plan import Planned, planned
from vicinal.tables.table import Claim, Table, merge
from vicinal.tables.verdicts import Interval

Record = Mapping[str, Any]

NOT_ORIGINAL = "data not known to be the original"


@dataclass(frozen=True)
class Outcome:
    """What our runs say about one cell."""

    cell: Cell
    run: Planned | None  # None where it waits
    values: Mapping[int, float]  # by seed, at the protocol or, where `reduced`, at another budget
    failed: tuple[int, ...] = ()
    reduced: tuple[str, ...] = ()  # what differs from the protocol
    records: tuple[Record, ...] = field(default=(), repr=False)

    @property
    def mean(self) -> float | None:
        """Over seeds."""
        return mean(self.values.values()) if self.values else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds."""
        return stdev(self.values.values()) if len(self.values) > 1 else None

    @cached_property
    def difference(self) -> Interval | None:
        """Ours minus the paper's, with its uncertainty."""
        if len(self.values) < 2:
            return None
        cell, values = self.cell, list(self.values.values())
        return verdicts.against_paper(
            values, cell.value, cell.spread, cell.paper_runs, cell.decimals
        )

    @property
    def verdict(self) -> str:
        """In the words of `verdicts`."""
        if self.cell.waits is not None:
            return "waits"
        if not self.values:
            return "failed" if self.failed else "not run"
        if self.reduced:
            return "reduced"
        if self.difference is None:
            return "inconclusive"
        whole = set(self.cell.seeds) <= self.values.keys() and not self.failed
        return verdicts.verdict(self.difference, self.cell.value, self.cell.unit == "%", whole)


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
        if self.better.reduced != self.worse.reduced:
            return None
        return verdicts.paired(self.better.values, self.worse.values, self._sign)

    @property
    def verdict(self) -> str:
        """Whether the ordering holds in our runs."""
        if not self.better.values or not self.worse.values:
            return "not run"
        return verdicts.ordering(self.gain)

    @property
    def reduced(self) -> bool:
        """Whether these runs have another budget than the paper's."""
        return bool(self.better.reduced or self.worse.reduced)

    @property
    def _sign(self) -> int:
        return -1 if self.better.cell.better == "lower" else 1


class Records:
    """Every record, found by the run that a cell needs."""

    def __init__(self, every: Iterable[Record]) -> None:
        self._by_name: dict[str, list[Record]] = defaultdict(list)
        self._reductions: dict[tuple[str, ...], set[str]] = defaultdict(set)  # of which kinds
        for record in sorted(every, key=lambda each: (each["name"], each["seed"])):
            self._by_name[record["name"]].append(record)
            config = record["config"]
            epochs = (f"schedule.epochs={config['schedule']['epochs']}",)
            for lines in {epochs, tuple(config.get("reduced", ()))} - {()}:
                self._reductions[lines].add(_kind(record["name"]))

    def outcome(self, cell: Cell) -> Outcome:
        """The protocol's runs, or else those of the budget that comes nearest to it."""
        if cell.waits is not None:
            return Outcome(cell, None, {})
        run = planned(cell.overrides)
        found = self._by_name.get(run.name, [])
        if found:
            return self._joined(cell, run, found, ())
        options = [self._joined(cell, run, found, lines) for lines, found in self._reduced(run)]
        return max(options, key=_nearness, default=Outcome(cell, run, {}))

    def _reduced(self, run: Planned) -> Iterator[tuple[tuple[str, ...], list[Record]]]:
        for lines, kinds in self._reductions.items():
            groups = any("." not in line.partition("=")[0] for line in lines)
            if groups or _kind(run.name) in kinds:
                try:
                    name = planned(merge(run.overrides, lines)).name
                except ConfigAttributeError:  # the cell sets what another model does not have:
                    continue  # no sweep can have made that run
                if name in self._by_name:
                    yield lines, self._by_name[name]

    def _joined(
        self, cell: Cell, run: Planned, found: Sequence[Record], lines: tuple[str, ...]
    ) -> Outcome:
        whole = [record for record in found if "failed" not in record]
        failed = tuple(record["seed"] for record in found if "failed" in record)
        copies = any(record["data"]["canonical"] is False for record in whole)
        altered = (*lines, NOT_ORIGINAL) if copies else lines
        values = {record["seed"]: reading(record, cell) for record in whole}
        return Outcome(cell, run, values, failed, altered, tuple(found))


def _kind(name: str) -> str:
    return name.rpartition("/")[0]


def _nearness(option: Outcome) -> tuple[int, int, tuple[str, ...]]:
    return option.records[0]["config"]["schedule"]["epochs"], len(option.values), option.reduced


def reading(record: Record, cell: Cell) -> float:
    """The number of a record that a cell prints."""
    if cell.measures == "parameters":
        return record["parameters"] / 1e6
    key, scale, offset = MEASURES[cell.measures]
    if cell.split == "test":
        return offset + scale * record["metrics"][cell.report][key]
    curves, at = record["curves"], -1
    if cell.report == "best_valid":
        at = curves["epoch"].index(record["metrics"]["best_valid"]["epoch"])
    return offset + scale * curves[f"{cell.split}_{key}"][at]


@dataclass(frozen=True)
class Joined:
    """A table with what our runs say about it."""

    table: Table
    outcomes: tuple[Outcome, ...]

    @classmethod
    def of(cls, table: Table, records: Records) -> "Joined":
        """Look up every cell."""
        return cls(table, tuple(records.outcome(cell) for cell in table.cells))

    @cached_property
    def comparisons(self) -> list[Compared]:
        """The table's claims, pair by pair."""
        outcomes = {each.cell.label: each for each in self.outcomes}
        return [
            Compared(claim, outcomes[better.label], outcomes[worse.label])
            for claim in self.table.claims
            for better, worse in self.table.pairs(claim)
        ]

    @property
    def own(self) -> tuple[Outcome, ...]:
        """Those that count: a variant's numbers are another table's."""
        return () if self.table.variant else self.outcomes

    @property
    def verdicts(self) -> Counter[str]:
        """How many cells have each verdict."""
        return Counter(outcome.verdict for outcome in self.outcomes)

    @property
    def orderings(self) -> Counter[str]:
        """How many pairs have each verdict, of runs at the protocol; others count as not run."""
        return Counter("not run" if each.reduced else each.verdict for each in self.comparisons)
