"""Tables of papers in Markdown: theirs beside ours. The same records give the same bytes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vicinal.tables.outcome import Joined, Outcome
from vicinal.tables.plan import planned
from vicinal.tables.table import Table

VERDICTS = (
    "reproduced",
    "above",
    "below",
    "inconclusive",
    "reduced",
    "failed",
    "not run",
    "waits",
)
ORDERINGS = ("holds", "contradicted", "undecided", "not run")


def page(joined: Joined) -> str:
    """One table's file."""
    table = joined.table
    parts = [f"# {table.paper}, {table.name.partition('/')[2]}\n", f"{table.caption}.\n"]
    head = [*table.stub, "column", "paper", "ours", "difference", "verdict"]
    width = max(len(outcome.cell.row) for outcome in joined.outcomes)
    head = [*table.stub[:width], *[""] * (width - len(table.stub)), *head[len(table.stub) :]]
    parts.append(grid(head, [_line(outcome, width) for outcome in joined.outcomes]))
    remarks = "".join(f"- {text}\n" for text in table.notes)
    parts += [text for text in (_claims(joined), remarks, _notes(joined)) if text]
    command = f"python train.py -m table={table.name}"
    if any(outcome.cell.waits is None for outcome in joined.outcomes):
        parts.append(f"`{command}` runs what is missing. Verdicts: [summary](../summary.md).\n")
    return "\n".join(parts)


def summary(every: Sequence[Joined], rules: str) -> str:
    """All tables in one: verdicts and orderings."""
    own = [joined for joined in every if not joined.table.variant]
    rows = [[_link(j), len(j.outcomes), *_counts(j.verdicts, VERDICTS)] for j in every]
    total = sum((j.verdicts for j in own), Counter[str]())
    rows.append(["all, but for variants", total.total(), *_counts(total, VERDICTS)])
    claimed = [joined for joined in every if joined.comparisons]
    orders = [[_link(j), len(j.comparisons), *_counts(j.orderings, ORDERINGS)] for j in claimed]
    total = sum((j.orderings for j in own), Counter[str]())
    orders.append(["all, but for variants", total.total(), *_counts(total, ORDERINGS)])
    return "\n".join(
        [
            "# The papers' tables\n",
            "Cells by verdict.\n",
            grid(["table", "cells", *VERDICTS], rows),
            "Orderings that the papers state, pair by pair, in runs at the papers' protocol.\n",
            grid(["table", "pairs", *ORDERINGS], orders),
            "## Rules\n",
            rules,
        ]
    )


def overview(every: Iterable[Joined]) -> str:
    """Numbers and orderings by verdict, paper by paper."""
    own = [joined for joined in every if not joined.table.variant]
    numbers, orders = dict[str, Counter[str]](), dict[str, Counter[str]]()
    for joined in own:
        for paper in (joined.table.paper, "all"):
            numbers.setdefault(paper, Counter()).update(joined.verdicts)
            orders.setdefault(paper, Counter()).update(joined.orderings)
    papers = sorted(numbers, key=lambda paper: (paper == "all", paper))
    return "\n".join(
        grid([head, *words], [[paper, *_counts(found[paper], words)] for paper in papers])
        for head, found, words in (
            ("numbers", numbers, VERDICTS),
            ("orderings", orders, ORDERINGS),
        )
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
            sum(cell.waits is None for cell in found),
            len({planned(cell.overrides).name for cell in found if cell.waits is None}),
            sum(cell.quoted is not None for cell in found),
        ]
        for paper, found in cells.items()
    ]
    rows.append(["all", *(sum(row[i] for row in rows) for i in range(1, 6))])
    waiting = Counter(cell.waits for found in cells.values() for cell in found if cell.waits)
    head = ["paper", "tables", "numbers", "runnable", "distinct runs", "quoted from others"]
    reasons = [[why, number] for why, number in sorted(waiting.items(), key=lambda x: (-x[1], x))]
    return f"{grid(head, rows)}\n{grid(['waiting for', 'numbers'], reasons)}"


def grid(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def ours(outcome: Outcome) -> str:
    """Mean ± deviation (n), and the seeds that failed."""
    if outcome.mean is None:
        return f"{len(outcome.failed)} failed" if outcome.failed else ""
    digits = max(outcome.cell.decimals, 2)
    spread = "" if outcome.spread is None else f" ± {outcome.spread:.{digits}f}"
    failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
    return f"{outcome.mean:.{digits}f}{spread} ({len(outcome.values)}{failed})"


def difference(outcome: Outcome) -> str:
    """Ours minus the paper's, with its 95 % interval."""
    if outcome.mean is None:
        return ""
    digits, found = max(outcome.cell.decimals, 2), outcome.difference
    if found is None:
        return f"{outcome.mean - outcome.cell.value:+.{digits}f}"
    return f"{found.difference:+.{digits}f} ± {found.half_width:.{digits}f}"


def said(outcome: Outcome) -> str:
    """The verdict, and what it hangs on."""
    verdict = outcome.verdict
    if verdict == "waits":
        return f"waits: {outcome.cell.waits}"
    return f"reduced: {', '.join(outcome.reduced)}" if verdict == "reduced" else verdict


def _line(outcome: Outcome, width: int) -> list[str]:
    cell = outcome.cell
    labels = [*cell.row, *[""] * (width - len(cell.row)), ", ".join(cell.column)]
    printed = cell.printed.replace("±", " ± ") + (" †" if cell.quoted else "")
    return [*labels, printed, ours(outcome), difference(outcome), said(outcome)]


def _claims(joined: Joined) -> str:
    rows = []
    for each in joined.comparisons:
        gain = each.gain
        rows.append(
            [
                each.claim.says,
                each.better.cell.label.replace(" | ", ", "),
                each.worse.cell.label.replace(" | ", ", "),
                "yes" if each.printed else "no",
                "" if gain is None else f"{gain.difference:+.2f} ± {gain.half_width:.2f}",
                each.seeds or "",
                f"{each.verdict} (reduced)" if each.reduced else each.verdict,
            ]
        )
    head = ["claim", "better", "worse", "in the paper's numbers", "our gain", "seeds", "verdict"]
    return f"## Orderings\n\n{grid(head, rows)}" if rows else ""


def _notes(joined: Joined) -> str:
    lines = dict[str, list[str]]()
    for outcome in joined.outcomes:
        cell = outcome.cell
        for text in (cell.note, f"† quoted from {cell.quoted}" if cell.quoted else None):
            if text:
                lines.setdefault(text, []).append(cell.label.replace(" | ", ", "))
    return "".join(f"- {text} ({_places(cells)})\n" for text, cells in lines.items())


def _places(cells: Sequence[str], most: int = 4) -> str:
    return "; ".join(cells) if len(cells) <= most else f"{len(cells)} numbers"


def _link(joined: Joined) -> str:
    return f"[{joined.table.name}]({joined.table.name}.md)"


def _counts(found: Mapping[str, int], order: Sequence[str]) -> list[str]:
    return [str(found[key]) if found.get(key) else "" for key in order]
