"""How many numbers and orderings have each verdict, and how many the tables ask for."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from vicinal.tables.cell import Cell
from vicinal.tables.markdown import grid
from vicinal.tables.outcome import Outcome
from vicinal.tables.plan import plan_run
from vicinal.tables.results import TableResults
from vicinal.tables.table import Table

FINAL = ("reproduced", "better", "worse", "differs", "inconclusive")
ONE_RUN = ("agrees (one run)", "near (one run)", "off (one run)")
NUMBERS = (*FINAL, *ONE_RUN, "interim", "reduced", "failed", "not run", "unavailable")
EXACT = ("equal", "unequal", "definition", "unavailable", "ordering holds", "ordering contradicted")
COSTS = (
    *("same ratio", "other ratio", "reference", "reduced", "failed", "not run", "unavailable"),
    *("ordering holds", "ordering contradicted", "ordering undecided", "ordering not run"),
)
DECIDED = ("holds", "contradicted", "undecided")
SIGNS = ("points that way", "points the other way", "no sign")
ORDERINGS = (*DECIDED, *SIGNS, "interim", "not run")
FORTIETHS = (  # of the verdicts in a group, how many fortieths chance gives to each at most
    (FINAL, {"reproduced": 1, "better": 1, "worse": 1}),
    (ONE_RUN, {"agrees (one run)": 1, "off (one run)": 2}),
    (DECIDED, {"holds": 1, "contradicted": 1}),
    (SIGNS, {"points that way": 1, "points the other way": 1}),
)
CHANCE = "by chance alone, at most"
ALL = "all but variants"
COVERAGE = (
    *("paper", "tables", "numbers", "runnable", "distinct runs", "counted without a run"),
    *("by definition", "quoted from others"),
)
STATE = ("paper", "numbers printed", "can be run", "run", "reproduced")
UNAVAILABLE = ("table", "numbers", "of", "why no run can reproduce them")

Count = Callable[[TableResults], Counter[str]]


def by_chance(counts: Mapping[str, int]) -> dict[str, float]:
    """How many of these verdicts chance alone would give, at most, to each kind."""
    return {
        kind: share * sum(counts.get(each, 0) for each in group) / 40
        for group, shares in FORTIETHS
        for kind, share in shares.items()
    }


def summary(tables: Sequence[TableResults], rules: str) -> str:
    """Verdicts and orderings, table by table."""
    parts = [
        ("The authors' own numbers.", _by_table(tables, "cells", NUMBERS, _authors)),
        ("Numbers quoted from other papers.", _by_table(tables, "cells", NUMBERS, _quoted)),
        (
            "Parameters and multiply-adds, counted without a run, and definitions.",
            _by_table(tables, "cells and pairs", EXACT, _exact),
        ),
        (
            "What methods cost, as a ratio to plain training, and orderings of that.",
            _by_table(tables, "cells and pairs", COSTS, _costs),
        ),
        (
            "Orderings that the papers state, pair by pair, in runs at the papers' protocol.",
            _by_table(tables, "pairs", ORDERINGS, _orderings),
        ),
    ]
    grids = [f"{caption}\n\n{table}" for caption, table in parts]
    return "\n".join(["# The papers' tables\n", *grids, "## Rules\n", rules])


def overview(tables: Iterable[TableResults]) -> str:
    """Verdicts and orderings, paper by paper."""
    originals = [each for each in tables if not each.table.variant]
    numbers = _by_paper(originals, NUMBERS, _authors)
    numbers.append(["quoted from others", *_cells(_total(originals, _quoted), NUMBERS)])
    exact = [["all", *_cells(_total(originals, _exact), EXACT)]]
    costs = [["all", *_cells(_total(originals, _costs), COSTS)]]
    orderings = _by_paper(originals, ORDERINGS, _orderings)
    return "\n".join(
        [
            grid(["numbers", *NUMBERS], numbers),
            grid(["counted, not run", *EXACT], exact),
            grid(["costs", *COSTS], costs),
            grid(["orderings", *ORDERINGS], orderings),
        ]
    )


def state(tables: Iterable[TableResults]) -> str:
    """How far each paper is: numbers with a run at its protocol, and those that are reproduced."""
    papers: dict[str, list[Outcome]] = {}
    for results in tables:
        papers.setdefault(results.table.paper, []).extend(results.original_outcomes)
    rows = []
    for paper, outcomes in papers.items():
        trainable = [each for each in outcomes if each.cell.trainable]
        run = [each for each in trainable if each.values and not each.reduced]
        reproduced = sum(each.verdict == "reproduced" for each in run)
        rows.append([paper, len(outcomes), len(trainable), len(run), reproduced])
    return grid(STATE, rows)


def coverage(tables: Iterable[Table]) -> str:
    """How many numbers there are, how many can be run, and why the others cannot."""
    papers: dict[str, list[Table]] = {}
    for table in (each for each in tables if not each.variant):
        papers.setdefault(table.paper, []).append(table)
    rows = []
    for paper, found in papers.items():
        cells = [cell for table in found for cell in table.cells]
        rows.append([paper, len(found), *_covered(cells)])
    rows.append(["all", *(sum(row[i] for row in rows) for i in range(1, len(COVERAGE)))])
    reasons = _unavailable(table for found in papers.values() for table in found)
    return "\n".join([grid(COVERAGE, rows), *([grid(UNAVAILABLE, reasons)] if reasons else [])])


def _unavailable(tables: Iterable[Table]) -> list[list[object]]:
    """Table by table, how many of its numbers no run can reproduce, and why."""
    rows: list[list[object]] = []
    for table in tables:
        reasons = Counter(cell.unavailable for cell in table.cells if cell.unavailable is not None)
        rows += [[table.name, n, len(table.cells), why] for why, n in reasons.most_common()]
    return rows


def _authors(results: TableResults) -> Counter[str]:
    return results.verdicts("authors")


def _quoted(results: TableResults) -> Counter[str]:
    return results.verdicts("quoted")


def _exact(results: TableResults) -> Counter[str]:
    return results.exact_verdicts


def _costs(results: TableResults) -> Counter[str]:
    return results.cost_verdicts


def _orderings(results: TableResults) -> Counter[str]:
    return results.ordering_verdicts


def _covered(cells: Sequence[Cell]) -> list[int]:
    return [
        len(cells),
        sum(cell.trainable for cell in cells),
        len(_runs(cells)),
        sum(cell.runnable and cell.exact for cell in cells),
        sum(cell.definition for cell in cells),
        sum(cell.quoted is not None for cell in cells),
    ]


def _runs(cells: Iterable[Cell]) -> set[str]:
    """The names of all runs that they need, those attacked and those begun with included."""
    trainable = [cell for cell in cells if cell.trainable]
    needed = {run for cell in trainable for run in (*cell.runs, cell.source, cell.start) if run}
    return {plan_run(run).name for run in needed}


def _by_table(
    tables: Sequence[TableResults], unit: str, verdicts: Sequence[str], count: Count
) -> str:
    rows: list[list[object]] = []
    for results in tables:
        if counts := count(results):
            link = f"[{results.table.name}]({results.table.name}.md)"
            rows.append([link, counts.total(), *_cells(counts, verdicts)])
    total = _total((each for each in tables if not each.table.variant), count)
    rows.append([ALL, total.total(), *_cells(total, verdicts)])
    if any(by_chance(total).values()):
        rows.append([CHANCE, "", *_expected(total, verdicts)])
    return grid(["table", unit, *verdicts], rows)


def _by_paper(
    tables: Sequence[TableResults], verdicts: Sequence[str], count: Count
) -> list[list[str]]:
    rows = [
        [paper, *_cells(_total((t for t in tables if t.table.paper == paper), count), verdicts)]
        for paper in sorted({each.table.paper for each in tables})
    ]
    total = _total(tables, count)
    return [*rows, ["all", *_cells(total, verdicts)], [CHANCE, *_expected(total, verdicts)]]


def _total(tables: Iterable[TableResults], count: Count) -> Counter[str]:
    return sum(map(count, tables), Counter[str]())


def _cells(counts: Mapping[str, int], verdicts: Sequence[str]) -> list[str]:
    return [str(counts[each]) if counts.get(each) else "" for each in verdicts]


def _expected(counts: Mapping[str, int], verdicts: Sequence[str]) -> list[str]:
    expected = by_chance(counts)
    return [f"{expected[each]:.1f}" if expected.get(each) else "" for each in verdicts]
