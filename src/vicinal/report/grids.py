"""A table as its paper lays it out: headings that span what they head, cells, footnotes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from vicinal.tables.results import TableResults
from vicinal.tables.table import Table

LONG = 32  # letters; longer row labels may be broken

Label = tuple[str, ...]


@dataclass(frozen=True)
class Heading:
    """A label and how many rows and columns it spans; `look` is its class."""

    text: str
    scope: str
    rowspan: int = 1
    colspan: int = 1
    look: str | None = None


def grid(results: TableResults) -> dict[str, Any]:
    """Lines of headings, then groups of lines; a line has row headings and a cell per column."""
    table, outcomes = results.table, results.outcomes
    width = max(map(len, table.rows))
    letters = max(len(label[0]) for label in (*table.rows, table.stub))
    by_place = {outcome.cell.place: outcome for outcome in outcomes}
    groups = []
    for rows in _grouped(table, width):
        stubs = row_stubs([table.rows[i] for i in rows], width)
        cells = [[by_place.get((i, j)) for j in range(len(table.columns))] for i in rows]
        groups.append(list(zip(stubs, cells, strict=True)))
    return {
        "width": width,
        "stub": min(max(letters, 4), 14) * 0.5 + 0.8,  # rem, the first column on narrow screens
        "heads": column_heads(table.stub, table.columns, width),
        "groups": groups,
        "marks": {note: letter(i) for i, note in enumerate(_named(o.cell.note for o in outcomes))},
        "quoted": _named(o.cell.quoted for o in outcomes),
    }


def column_heads(stub: Label, columns: Sequence[Label], width: int) -> list[list[Heading]]:
    """Equal neighbours share a heading; that of a short label spans the levels below it."""
    depth = max(map(len, columns))
    stubs = (*stub, *[""] * width)[:width]
    lines = [[Heading(name, "col", depth, 1, _stub(name, i)) for i, name in enumerate(stubs)]]
    lines += [[] for _ in range(depth - 1)]
    for level, across, down, name in _headings(columns, depth):
        scope = "colgroup" if len(across) > 1 else "col"
        lines[level].append(Heading(name, scope, down, len(across)))
    return lines


def row_stubs(rows: Sequence[Label], width: int) -> list[list[Heading]]:
    """The headings that begin in each row: equal neighbours share one that spans their rows."""
    found: list[list[Heading]] = [[] for _ in rows]
    for level, down, across, name in _headings(rows, width):
        scope = "rowgroup" if len(down) > 1 else "row"
        found[down[0]].append(Heading(name, scope, len(down), across, _stub(name, level)))
    return found


def _grouped(table: Table, width: int) -> list[list[int]]:
    """Rows whose first label is the same, if labels have several parts."""
    indexes = range(len(table.rows))
    if width == 1:
        return [list(indexes)]
    return [list(group) for _, group in groupby(indexes, key=lambda i: table.rows[i][0])]


def _headings(labels: Sequence[Label], depth: int) -> Iterator[tuple[int, list[int], int, str]]:
    """By level: the neighbours that share a part, how many levels it spans, and the part."""
    for level in range(depth):
        for _, group in groupby(range(len(labels)), key=lambda i: _upto(labels[i], level, i)):
            shared = list(group)
            label = labels[shared[0]]
            if level < len(label):
                yield level, shared, depth - level if level == len(label) - 1 else 1, label[level]


def _upto(label: Label, level: int, index: int) -> tuple[object, ...]:
    """What neighbours must share to share a heading; a label's last part is never shared."""
    return label[: level + 1] if level < len(label) - 1 else (*label, index)


def _stub(label: str, level: int) -> str:
    return f"stub s{level + 1}" + (" long" if len(label) > LONG else "")


def _named(found: Iterable[str | None]) -> list[str]:
    """Each name once, in the order of the cells."""
    return [name for name in dict.fromkeys(found) if name]


def letter(index: int) -> str:
    """a to z, then aa and so on."""
    rest, last = divmod(index, 26)
    return (letter(rest - 1) if rest else "") + chr(ord("a") + last)
