"""Cells joined with records: ours beside the paper's."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omegaconf.errors import ConfigAttributeError

from vicinal.tables import networks
from vicinal.tables.cell import MEASURES, Cell
from vicinal.tables.outcome import Compared, Outcome
from vicinal.tables.plan import Planned, planned
from vicinal.tables.spreads import Spreads
from vicinal.tables.table import Table, merge

Record = Mapping[str, Any]

NOT_ORIGINAL = "data not known to be the original"


class Records:
    """Every record; `spreads` are the deviations by which few runs are judged."""

    def __init__(self, every: Iterable[Record], spreads: Spreads | None = None) -> None:
        self._spreads = spreads or Spreads(())
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
        if not cell.runnable:
            return Outcome(cell, None, {})
        run = planned(cell.overrides)
        if cell.exact:
            return Outcome(cell, run, {}, counted=networks.counted(cell, run.config))
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
        if not altered:  # a verdict is the planned seeds': others could have been chosen for it
            values = {seed: value for seed, value in values.items() if seed in cell.seeds}
            failed = tuple(seed for seed in failed if seed in cell.seeds)
        pooled = self._spreads.of(cell)
        return Outcome(cell, run, values, failed, altered, tuple(found), pooled)


def _kind(name: str) -> str:
    return name.rpartition("/")[0]


def _nearness(option: Outcome) -> tuple[int, int, tuple[str, ...]]:
    return option.records[0]["config"]["schedule"]["epochs"], len(option.values), option.reduced


def reading(record: Record, cell: Cell) -> float:
    """The number of a record that a cell prints."""
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

    def verdicts(self, group: str) -> Counter[str]:
        """How many cells of one of `cell.GROUPS` have each verdict."""
        return Counter(each.verdict for each in self.outcomes if each.cell.group == group)

    @property
    def exact(self) -> Counter[str]:
        """The verdicts of what no run is needed for, orderings included."""
        pairs = (f"ordering {each.verdict}" for each in self.comparisons if each.counted)
        return self.verdicts("exact") + Counter(pairs)

    @property
    def orderings(self) -> Counter[str]:
        """How many other pairs have each verdict at the protocol; reduced runs count as not run."""
        pairs = (each for each in self.comparisons if not each.counted)
        return Counter("not run" if each.reduced else each.verdict for each in pairs)
