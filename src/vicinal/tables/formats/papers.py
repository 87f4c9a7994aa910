"""The papers' numbers beside those of a table."""

from vicinal.tables import table
from vicinal.tables.beside import same_run
from vicinal.tables.cell import Cell
from vicinal.tables.plan import compose_cached, plan_run

SAME = ("measures", "part", "report", "split", "evaluation")  # fields of what is measured alike


def papers_cells(cell: Cell) -> list[Cell]:
    """The cell itself if a number is printed for it, else the papers' for the same run."""
    if cell.printed is not None:
        return [cell]
    if not cell.trainable or cell.best_of or cell.over is not None:
        return []
    _, choices = compose_cached(cell.run)
    found = same_run(plan_run(cell.run).name, choices)
    return [each for each in found if _alike(each, cell) and not table.load(each.table).variant]


def source(cell: Cell) -> str:
    """Where a number is printed."""
    quoted = f", quoted from {cell.quoted}" if cell.quoted else ""
    return f"{cell.table}{quoted}"


def _alike(one: Cell, two: Cell) -> bool:
    same = all(getattr(one, field) == getattr(two, field) for field in SAME)
    return same and not one.best_of and one.source == two.source
