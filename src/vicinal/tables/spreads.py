"""The deviations that the five papers print, pooled by data set and measure."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from scipy import special

from vicinal.cli.overrides import key_of, value_of
from vicinal.tables.cell import MEASURES, Cell
from vicinal.tables.table import Table
from vicinal.tables.verdicts import MIN_PRINTED_RUNS, Deviation

MIN_POOLED = 5  # deviations
# The settings of a data set that decide how far results scatter.
DATA_KEYS = ("dataset.label_noise", "dataset.train_per_class")

Kind = tuple[str, ...]  # data set, its settings, measure, and split or evaluation


class Spreads:
    """Every printed deviation of something that a run measures."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self._by_kind: dict[Kind, list[float]] = defaultdict(list)
        for cell in (cell for table in tables if not table.variant for cell in table.cells):
            if cell.trainable and cell.spread is not None and cell.paper_runs >= MIN_PRINTED_RUNS:
                true_deviation = cell.spread / _median_deviation(cell.paper_runs)
                self._by_kind[_kind(cell)].append(true_deviation)

    def of(self, cell: Cell) -> Deviation | None:
        """The median deviation for a cell's data set and measure, if enough are printed."""
        if not cell.trainable:
            return None
        kind = _kind(cell)
        printed = self._by_kind.get(kind, [])
        if len(printed) < MIN_POOLED:
            return None
        pooled, digits = median(printed), max(cell.decimals, 2)
        source = f"pooled, {pooled:.{digits}f} (median of {len(printed)}: {', '.join(kind)})"
        return Deviation(pooled, source)


def _kind(cell: Cell) -> Kind:
    data = {key_of(line): value_of(line) for line in cell.overrides}
    dataset = data.get("dataset", "")
    settings = [f"{key.partition('.')[2]} {data[key]}" for key in DATA_KEYS if key in data]
    where = cell.split if cell.evaluation is None else cell.evaluation
    return (dataset, *settings, MEASURES[cell.measures][0], where)


def _median_deviation(runs: int) -> float:
    """The median sample deviation of so many runs whose true deviation is 1."""
    median_of_squares = 2 * float(special.gammaincinv((runs - 1) / 2, 0.5))  # of chi-squared
    return (median_of_squares / (runs - 1)) ** 0.5
