"""Tables in CSV, one line per number, as pandas reads it best."""

import csv
import io
from collections.abc import Iterable

from vicinal.tables.formats.papers import papers_cells, source
from vicinal.tables.outcome import Outcome
from vicinal.tables.results import TableResults

HEAD = (
    *("table", "row", "column", "measures", "unit", "better", "report", "split", "evaluation"),
    *("mean", "sd", "n", "failed", "seeds", "reduced", "verdict", "best_of", "run"),
    *("paper", "paper_sd", "paper_source", "difference", "half_width"),
)
Line = tuple[object, ...]


def csv_lines(tables: Iterable[TableResults], papers: bool = False) -> str:
    """All numbers of some tables.

    `papers` looks for the papers' numbers of the same runs where a table prints none.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for results in tables:
        writer.writerows(_line(each, papers) for each in results.outcomes)
    return text.getvalue()


def _line(outcome: Outcome, papers: bool) -> Line:
    cell = outcome.cell
    labels = cell.table, " | ".join(cell.row), " | ".join(cell.column)
    how = cell.measures, cell.unit, cell.better, cell.report, cell.split, cell.evaluation
    seeds = " ".join(map(str, outcome.values))
    state = len(outcome.values), len(outcome.failed), seeds, " ".join(outcome.reduced)
    run = "" if outcome.run is None else outcome.run.name
    ours = outcome.mean, outcome.spread, *state, outcome.verdict, " ".join(cell.best_of), run
    return *labels, *how, *ours, *_paper(outcome, papers)


def _paper(outcome: Outcome, papers: bool) -> Line:
    """The number that a paper prints, its deviation and source, and ours minus it.

    If papers print different numbers for one run, they are in `paper_source` alone.
    """
    found = papers_cells(outcome.cell) if papers or outcome.cell.printed is not None else []
    sources = "; ".join(f"{each.printed} in {source(each)}" for each in found)
    if len({each.printed for each in found}) != 1:
        return None, None, sources, None, None
    paper, interval = found[0], outcome.difference
    difference = None if outcome.mean is None else outcome.mean - paper.value
    half = None if interval is None else interval.half_width
    return paper.value, paper.spread, sources, difference, half
