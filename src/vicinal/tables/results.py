"""A paper's numbers and ours side by side: every cell joined with its records."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import ConfigAttributeError

from vicinal.tables import networks
from vicinal.tables.cell import Cell
from vicinal.tables.outcome import Ordering, Outcome
from vicinal.tables.plan import PlannedRun, begin_with, plan_run, replaces_part
from vicinal.tables.spreads import Spreads
from vicinal.tables.table import Table
from vicinal.tables.values import values_by_seed

Record = Mapping[str, Any]

NOT_ORIGINAL = "data not known to be the original"


class RecordIndex:
    """All records by the name of their run; few runs are judged by the deviations in `spreads`."""

    def __init__(self, records: Iterable[Record], spreads: Spreads | None = None) -> None:
        self._spreads = spreads or Spreads(())
        self._by_name: dict[str, list[Record]] = defaultdict(list)
        # How runs were reduced, and which families of runs (DATASET/MODEL/METHOD) were.
        self._reductions: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for record in sorted(records, key=lambda each: (each["name"], each["seed"])):
            self._by_name[record["name"]].append(record)
            for reduction in possible_reductions(record["config"]):
                self._reductions[reduction].add(_family(record["name"]))

    def outcome(self, cell: Cell) -> Outcome:
        """What the runs at the protocol say, or else those with the budget nearest to it."""
        if not cell.runnable:
            return Outcome(cell, None, {})
        outcomes = [self._of_run(cell, overrides) for overrides in cell.runs]
        return best(cell, outcomes) if cell.best_of else outcomes[0]

    def _of_run(self, cell: Cell, overrides: tuple[str, ...]) -> Outcome:
        run = plan_run(overrides)
        if cell.exact:
            return Outcome(cell, run, {}, counted=networks.counted(cell, run.config))
        whole = Outcome(cell, run, {})
        if run.name in self._by_name:
            whole = self._outcome_of(cell, run, self._by_name[run.name], ())
            if whole.values or cell.evaluation is None:
                return whole
        reduced = [
            self._outcome_of(cell, run, self._by_name[name], reduction)
            for reduction, name in self._reduced_names(cell, run)
        ]
        return max((each for each in reduced if each.values), key=_nearness, default=whole)

    def _reduced_names(self, cell: Cell, run: PlannedRun) -> Iterator[tuple[tuple[str, ...], str]]:
        """Each recorded reduction of a run, and the name it has there.

        Composing takes time, so a reduction is tried only on families that have a record with it,
        unless it replaces a part and so changes the family.
        """
        for reduction, families in self._reductions.items():
            if _family(run.name) in families or any(map(replaces_part, reduction)):
                name = name_with(cell, run.overrides, reduction)
                if name in self._by_name:
                    yield reduction, name

    def _outcome_of(
        self, cell: Cell, run: PlannedRun, records: Sequence[Record], reduction: tuple[str, ...]
    ) -> Outcome:
        finished = [record for record in records if "failed" not in record]
        failed = tuple(record["seed"] for record in records if "failed" in record)
        copies = any(record["data"]["canonical"] is False for record in finished)
        change, values = values_by_seed(finished, cell, reduction)
        reduced = (*reduction, *change, *((NOT_ORIGINAL,) if copies else ()))
        if not reduced:  # only planned seeds may decide: others could be picked for their result
            values = {seed: value for seed, value in values.items() if seed in cell.seeds}
            failed = tuple(seed for seed in failed if seed in cell.seeds)
        numbers = {seed: each.value for seed, each in values.items()}
        warned = tuple(dict.fromkeys(text for each in values.values() for text in each.warnings))
        return Outcome(
            cell,
            run,
            numbers,
            failed,
            reduced,
            tuple(records),
            self._spreads.of(cell),
            warnings=warned,
            plain={s: each.plain for s, each in values.items() if each.plain is not None},
            devices=tuple(sorted({each.device for each in values.values()} - {""})),
        )


def best(cell: Cell, outcomes: Sequence[Outcome]) -> Outcome:
    """For each seed the best of all runs; none while a run of that seed lacks its number."""
    first = outcomes[0]
    choose = max if cell.better == "higher" else min
    seeds = set[int].intersection(*(set(each.values) for each in outcomes))
    if any(each.reduced != first.reduced for each in outcomes):
        seeds = set()  # runs of different budgets are not compared
    return replace(
        first,
        values={seed: choose(each.values[seed] for each in outcomes) for seed in sorted(seeds)},
        failed=tuple(sorted({seed for each in outcomes for seed in each.failed})),
        records=tuple(record for each in outcomes for record in each.records),
        warnings=tuple(dict.fromkeys(text for each in outcomes for text in each.warnings if seeds)),
    )


def possible_reductions(config: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """What may differ from a protocol: the epochs, and what a sweep noted as its reduction.

    A run of no epochs is not a short one, but there to be measured untrained.
    """
    epochs = config["schedule"]["epochs"]
    shorter = (f"schedule.epochs={epochs}",) if epochs else ()
    return {shorter, tuple(config.get("reduced", ()))} - {()}


def name_with(cell: Cell, run: Sequence[str], reduction: Sequence[str]) -> str | None:
    """The name of a cell's run if it is reduced; None if the reduction does not fit it."""
    try:
        return plan_run(begin_with(cell.start, run, reduction)).name
    except (ConfigAttributeError, HydraException):
        return None  # the cell has settings that the reduction's model lacks, or it is not ours


def _family(name: str) -> str:
    """DATASET/MODEL/METHOD."""
    return name.rpartition("/")[0]


def _nearness(outcome: Outcome) -> tuple[int, int, tuple[str, ...]]:
    epochs = outcome.records[0]["config"]["schedule"]["epochs"]
    return epochs, len(outcome.values), outcome.reduced


@dataclass(frozen=True)
class TableResults:
    """A table and what our runs say about each of its cells."""

    table: Table
    outcomes: tuple[Outcome, ...]

    @classmethod
    def of(cls, table: Table, records: RecordIndex) -> "TableResults":
        """Look up every cell."""
        return cls(table, tuple(records.outcome(cell) for cell in table.cells))

    @cached_property
    def orderings(self) -> list[Ordering]:
        """The table's claims, pair by pair."""
        outcomes = {each.cell.label: each for each in self.outcomes}
        return [
            Ordering(claim, outcomes[better.label], outcomes[worse.label])
            for claim in self.table.claims
            for better, worse in self.table.pairs(claim)
        ]

    @property
    def original_outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes that totals count; a variant repeats the numbers of another table."""
        return () if self.table.variant else self.outcomes

    def verdicts(self, group: str) -> Counter[str]:
        """How many cells of one `Cell.group` have each verdict."""
        return Counter(each.verdict for each in self.outcomes if each.cell.group == group)

    @property
    def exact_verdicts(self) -> Counter[str]:
        """The verdicts on numbers that need no run, orderings of such numbers included."""
        pairs = (f"ordering {each.verdict}" for each in self.orderings if each.exact)
        return self.verdicts("exact") + Counter(pairs)

    @property
    def cost_verdicts(self) -> Counter[str]:
        """The verdicts on what methods cost, orderings of that included."""
        pairs = (each for each in self.orderings if each.of_costs)
        judged = Counter(f"ordering {_counted_as(each)}" for each in pairs)
        return self.verdicts("costs") + judged

    @property
    def ordering_verdicts(self) -> Counter[str]:
        """How many other pairs have each verdict."""
        pairs = (each for each in self.orderings if not each.exact and not each.of_costs)
        return Counter(map(_counted_as, pairs))


def _counted_as(ordering: Ordering) -> str:
    """The verdict on a pair; reduced runs count as not run."""
    return "not run" if ordering.reduced else ordering.verdict
