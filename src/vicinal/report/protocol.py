"""What the numbers of a table measure and how, as a person would say it above the table."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from vicinal.report import words
from vicinal.tables import names
from vicinal.tables.cell import Cell

MOST = 4  # rows or columns that are named as exceptions

Label = tuple[str, ...]


def protocol(cells: Sequence[Cell]) -> list[str]:
    """Each aspect of it: what most cells have, and the columns or rows that differ."""
    measured = [cell for cell in cells if not cell.exact] or cells
    return [
        _measures(cells),
        _said(cells, lambda cell: words.BETTER[cell.better]),
        _said(measured, words.reported),
        f"our seeds: {_said(measured, lambda cell: words.seeds(cell.seeds))}",
        f"paper: {_said(measured, lambda cell: words.many(cell.paper_runs, 'run'))}",
    ]


def _measures(cells: Sequence[Cell]) -> str:
    """What is measured, by unit."""
    units = dict[str, list[str]]()
    for cell in cells:
        units.setdefault(cell.unit, []).append(names.measure(cell.measures))
    found = ((words.listed(dict.fromkeys(names)), unit) for unit, names in units.items())
    return "; ".join(", ".join(filter(None, each)) for each in found)


def _said(cells: Sequence[Cell], aspect: Callable[[Cell], str]) -> str:
    """`most (column: other)`, or all of them where neither columns nor rows decide it."""
    count = Counter(map(aspect, cells))
    most = count.most_common(1)[0][0]
    if len(count) == 1:
        return most
    for label in (lambda cell: cell.column, lambda cell: cell.row):
        others = [(label(cell), aspect(cell)) for cell in cells]
        if (found := _exceptions(others, most)) is not None:
            return f"{most} ({found})"
    return f"{' or '.join(count)}, see each number"


def _exceptions(found: Iterable[tuple[Label, str]], most: str) -> str | None:
    """The labels with another value; None where a label has several, or where they are many."""
    pairs = dict.fromkeys(found)
    labels = [label for label, _ in pairs]
    apart = [(label, value) for label, value in pairs if value != most]
    if len(set(labels)) < len(labels) or len(apart) > MOST:
        return None
    where = dict[str, list[str]]()
    for label, value in apart:
        where.setdefault(value, []).append(_name(label, labels))
    return "; ".join(f"{words.listed(names)}: {value}" for value, names in where.items())


def _name(label: Label, among: Sequence[Label]) -> str:
    """The last part of a label, or all of it where others end alike."""
    alike = sum(other[-1] == label[-1] for other in among)
    return label[-1] if alike == 1 else ", ".join(filter(None, label))
