"""How many numbers and orderings have which verdict, and what the tables ask for."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from vicinal.tables.cell import reasons
from vicinal.tables.joined import Joined
from vicinal.tables.markdown import grid
from vicinal.tables.plan import planned
from vicinal.tables.table import Table

FINAL = ("reproduced", "better", "worse", "differs", "inconclusive")
ONE_RUN = ("agrees (one run)", "near (one run)", "off (one run)")
NUMBERS = (*FINAL, *ONE_RUN, "interim", "reduced", "failed", "not run", "waits")
EXACT = ("equal", "unequal", "definition", "waits", "ordering holds", "ordering contradicted")
DECIDED = ("holds", "contradicted", "undecided")
SIGNS = ("points that way", "points the other way", "no sign")
ORDERINGS = (*DECIDED, *SIGNS, "interim", "not run")
FORTIETHS = (  # among so many verdicts, how many of each kind chance makes at most
    (FINAL, {"reproduced": 1, "better": 1, "worse": 1}),
    (ONE_RUN, {"agrees (one run)": 1, "off (one run)": 2}),
    (DECIDED, {"holds": 1, "contradicted": 1}),
    (SIGNS, {"points that way": 1, "points the other way": 1}),
)
CHANCE = "by chance alone, at most"
ALL = "all, but for variants"

Counted = Mapping[str, int]


def by_chance(found: Counted) -> dict[str, float]:
    """How many verdicts of each kind there would be if there were nothing to find."""
    return {
        kind: share * sum(found.get(each, 0) for each in among) / 40
        for among, kinds in FORTIETHS
        for kind, share in kinds.items()
    }


def summary(every: Sequence[Joined], rules: str) -> str:
    """All tables in one: verdicts and orderings."""
    parts = [
        ("The authors' own numbers by verdict.", "cells", NUMBERS, lambda j: j.verdicts("own")),
        ("Numbers quoted from other papers.", "cells", NUMBERS, lambda j: j.verdicts("quoted")),
        (
            "Parameters and multiply-adds, counted without a run, and definitions.",
            "cells and pairs",
            EXACT,
            lambda j: j.exact,
        ),
        (
            "Orderings that the papers state, pair by pair, in runs at the papers' protocol.",
            "pairs",
            ORDERINGS,
            lambda j: j.orderings,
        ),
    ]
    grids = [f"{said}\n\n{_by_table(every, *how)}" for said, *how in parts]
    return "\n".join(["# The papers' tables\n", *grids, "## Rules\n", rules])


def _by_table(
    every: Sequence[Joined],
    unit: str,
    words: Sequence[str],
    counted: Callable[[Joined], Counter[str]],
) -> str:
    rows: list[list[object]] = []
    total = Counter[str]()
    for joined in every:
        if found := counted(joined):
            link = f"[{joined.table.name}]({joined.table.name}.md)"
            rows.append([link, found.total(), *_counts(found, words)])
            total += Counter() if joined.table.variant else found
    rows.append([ALL, total.total(), *_counts(total, words)])
    if any(by_chance(total).values()):
        rows.append([CHANCE, "", *_expected(total, words)])
    return grid(["table", unit, *words], rows)


def overview(every: Iterable[Joined]) -> str:
    """Numbers and orderings by verdict, paper by paper."""
    own = [joined for joined in every if not joined.table.variant]
    papers = sorted({joined.table.paper for joined in own})

    def rows(words: Sequence[str], counted: Callable[[Joined], Counter[str]]) -> list[list[str]]:
        by_paper = {
            paper: sum((counted(j) for j in own if j.table.paper == paper), Counter[str]())
            for paper in papers
        }
        total = sum(by_paper.values(), Counter[str]())
        found = [[name, *_counts(count, words)] for name, count in by_paper.items()]
        return [*found, ["all", *_counts(total, words)], [CHANCE, *_expected(total, words)]]

    quoted = sum((joined.verdicts("quoted") for joined in own), Counter[str]())
    exact = sum((joined.exact for joined in own), Counter[str]())
    numbers = rows(NUMBERS, lambda joined: joined.verdicts("own"))
    numbers.append(["quoted from others", *_counts(quoted, NUMBERS)])
    return "\n".join(
        [
            grid(["numbers", *NUMBERS], numbers),
            grid(["counted, not run", *EXACT], [["all", *_counts(exact, EXACT)]]),
            grid(["orderings", *ORDERINGS], rows(ORDERINGS, lambda joined: joined.orderings)),
        ]
    )


def coverage(tables: Iterable[Table]) -> str:
    """How many numbers there are, how many can be run now, and what the others wait for."""
    cells: dict[str, list[Any]] = {}
    count = Counter[str]()
    for table in (each for each in tables if not each.variant):
        cells.setdefault(table.paper, []).extend(table.cells)
        count[table.paper] += 1
    rows = [
        [
            paper,
            count[paper],
            len(found),
            sum(cell.trains for cell in found),
            len({planned(cell.overrides).name for cell in found if cell.trains}),
            sum(cell.runnable and cell.exact for cell in found),
            sum(cell.definition for cell in found),
            sum(cell.quoted is not None for cell in found),
        ]
        for paper, found in cells.items()
    ]
    rows.append(["all", *(sum(row[i] for row in rows) for i in range(1, 8))])
    waiting = Counter(cell.waits for found in cells.values() for cell in found if cell.waits)
    head = ["paper", "tables", "numbers", "runnable", "distinct runs", "counted without a run"]
    head += ["by definition", "quoted from others"]
    ordered = sorted(waiting.items(), key=lambda x: (-x[1], x))
    lines = [[why, number, reasons()[why]] for why, number in ordered]
    return f"{grid(head, rows)}\n{grid(['waiting for', 'numbers', 'what is missing'], lines)}"


def _counts(found: Counted, order: Sequence[str]) -> list[str]:
    return [str(found[key]) if found.get(key) else "" for key in order]


def _expected(found: Counted, order: Sequence[str]) -> list[str]:
    expected = by_chance(found)
    return [f"{expected[key]:.1f}" if expected.get(key) else "" for key in order]
