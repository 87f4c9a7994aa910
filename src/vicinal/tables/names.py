"""What readers call papers, tables, numbers, epochs and seeds."""

import re
from collections.abc import Sequence

from vicinal.tables.cell import Cell
from vicinal.tables.papers import paper

REPORTS = {
    "last": "last epoch",
    "median10": "median of the last ten epochs",
    "best_test": "best epoch on test data",
    "best_valid": "best epoch on validation data",
}

MEASURES = {
    "nll": "loss",
    "share": "accuracy from 0 to 1",
    "mce": "mCE",
    "mce_without_noise": "mCE without noise",
    "bn_variance": "variance of BatchNorm statistics",
    "seconds_per_epoch": "time per epoch",
    "minutes_per_epoch": "time per epoch",
    "hours": "training time",
    "multiply_adds": "multiply-adds",
    "top5_error": "top-5 error",
    "top5_accuracy": "top-5 accuracy",
}


def titled(name: str) -> str:
    """`PAPER/table4_raw` is Table 4 (raw)."""
    found = re.fullmatch(r"([a-z]+?)_?(\d+[a-z]?)(?:_(.+))?", name.rpartition("/")[2])
    if found is None:
        return name.rpartition("/")[2]
    variant = f" ({found[3].replace('_', ' ')})" if found[3] else ""
    return f"{found[1].capitalize()} {found[2]}{variant}"


def cited(cell: Cell) -> tuple[str, str]:
    """A number's table and its labels."""
    name = short(cell.table.partition("/")[0])
    return f"{name}, {titled(cell.table)}", ", ".join(filter(None, (*cell.row, *cell.column)))


def short(folder: str) -> str:
    """The paper's name, which is its method's."""
    return paper(folder).name


def measure(name: str) -> str:
    """A measure's name in prose."""
    return MEASURES.get(name, name.replace("_", " "))


def seeds(values: Sequence[int]) -> str:
    """Seeds as 0 to 19 or 0, 1, 2."""
    if len(values) > 4 and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))
