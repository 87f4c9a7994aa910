"""The deviations that the five papers print, pooled by data set and measure."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from scipy import stats

from vicinal.tables.cell import MEASURES, Cell
from vicinal.tables.table import Table
from vicinal.tables.verdicts import FEWEST_PRINTED, Deviation

FEWEST = 5  # deviations that make a pool
# What of a run's data decides how far its results scatter.
LEARNT = ("dataset", "dataset.train_per_class", "dataset.label_noise")

Kind = tuple[str, ...]


class Spreads:
    """Every printed deviation of what a run measures."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self._found: dict[Kind, list[float]] = defaultdict(list)
        for cell in (cell for table in tables if not table.variant for cell in table.cells):
            kind = _kind(cell)
            if kind and cell.spread is not None and cell.paper_runs >= FEWEST_PRINTED:
                self._found[kind].append(cell.spread / _low(cell.paper_runs))

    def of(self, cell: Cell) -> Deviation | None:
        """The median of those of a cell's data set and measure."""
        kind = _kind(cell)
        found = self._found.get(kind, [])
        if len(found) < FEWEST:
            return None
        value, digits = median(found), max(cell.decimals, 2)
        return Deviation(
            value, f"pooled, {value:.{digits}f} (median of {len(found)}: {', '.join(kind)})"
        )


def _kind(cell: Cell) -> Kind:
    """Data set, what it is learnt from, measure and split; nothing where no run measures it."""
    if not cell.trains:
        return ()
    lines = (line.partition("=") for line in cell.overrides)
    data = {key: value for key, _, value in lines if key in LEARNT}
    named = [data.pop("dataset", "")]
    named += [f"{key.partition('.')[2]} {value}" for key, value in sorted(data.items())]
    return (*named, MEASURES[cell.measures][0], cell.split)


def _low(runs: int) -> float:
    """The median of the sample deviation of so many runs whose true deviation is 1."""
    return float(stats.chi2.median(runs - 1) / (runs - 1)) ** 0.5
