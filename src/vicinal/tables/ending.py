"""What a run says at its end: its numbers, where they lie, and which printed ones are beside them.

The record is written by then, so a failure here is told in a line or a traceback and ends nothing.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vicinal.cli.failures import print_error, user_message
from vicinal.errors import RunError
from vicinal.loggers.logger import Beside
from vicinal.storage import records
from vicinal.tables.beside import same_run
from vicinal.tables.cell import Cell
from vicinal.tables.names import REPORTS, cited, measure, seeds
from vicinal.tables.outcome import Outcome
from vicinal.tables.plan import plan_run
from vicinal.tables.results import RecordIndex
from vicinal.tables.runs import MEASURES, mean_and_spread, measure_of

MOST = 6  # printed numbers that are shown
MEDIAN_OF = 10  # epochs

Record = dict[str, Any]


def tell(record: Record, folder: Path, results: str, news: bool) -> list[Beside]:
    """Print the end of a finished run; its numbers alone if there is no news.

    Returns what a logger shows of the papers.
    """
    print(measured(record))
    if not news:
        return []
    copy = records.published(results, record["name"], record["seed"])
    print(f"record: {folder / 'record.json'} (copy: {copy})")
    if kept := sorted(record.get("weights", ())):
        names = kept[0] if len(kept) == 1 else f"{{{','.join(kept)}}}"
        print(f"weights: {folder / 'weights' / names}.safetensors")
    try:
        found = outcomes(record, results)
        for line in lines(found, record["seed"]):
            print(line)
        return [_beside(each) for each in found if each.values]
    except Exception as error:  # days of training must not end with a table
        print_error(error, user_message(error), tracebacks=False)
        return []


def measured(record: Record) -> str:
    """The test numbers of the epochs that papers report, in one line."""
    judged_by, epochs = measure_of(record), max(map(len, record["curves"].values()))
    name, unit = MEASURES[judged_by]
    parts = []
    for report, words in REPORTS.items():
        numbers = record["metrics"].get(report)
        if numbers is None or (report == "median10" and epochs < MEDIAN_OF):
            continue
        when = f" (epoch {numbers['epoch']:.0f})" if "epoch" in numbers else ""
        parts.append(f"{words} {numbers[judged_by]:.2f}{_spaced(unit)}{when}")
    return f"test {name}: {', '.join(parts)}"


def outcomes(record: Record, results: str) -> list[Outcome]:
    """What this run and its other seeds say about the numbers that it stands beside."""
    cells = same_run(record["name"], record["choices"], record["config"])
    if not cells:
        return []
    others = {plan_run(run).name for cell in cells if cell.best_of for run in cell.runs}
    found, own = [record], records.published(results, record["name"], record["seed"])
    for name in sorted({record["name"], *others}):
        first = records.published(results, name, 0)
        for path in sorted(first.parent.glob(first.name.replace("-seed0.", "-seed*."))):
            if path != own:
                found += _read(path)
    index = RecordIndex(found)
    said = (index.outcome(cell) for cell in cells if _reports(record, cell))
    return [each for each in said if each.values or _lacking(each.cell, record["seed"])]


def _read(path: Path) -> list[Record]:
    """A record of another seed, unless it is damaged."""
    try:
        return [records.read(path)]
    except RunError as error:
        print(f"{error}; not compared", file=sys.stderr)
        return []


def _reports(record: Record, cell: Cell) -> bool:
    """Whether what the cell prints was measured on the run."""
    entries = record["evaluations"].values()
    known = {(each["name"], each["report"]) for each in entries}
    needed = (cell.evaluation, cell.report)
    return not cell.is_reference and (cell.evaluation is None or needed in known)


def lines(found: Sequence[Outcome], seed: int) -> list[str]:
    """One line per printed number; of many only the first, and how to see the others."""
    shown = [_line(each, seed) for each in found[:MOST]]
    if more := found[MOST:]:
        tables = ", ".join(dict.fromkeys(each.cell.table for each in more))
        shown.append(f"and {len(more)} more in {tables} (vicinal tables NAME)")
    return shown


def _line(outcome: Outcome, seed: int) -> str:
    """A printed number, and ours."""
    cell = outcome.cell
    assert cell.printed is not None
    theirs = f"{cell.printed.replace('±', ' ± ')}{_spaced(cell.unit)}"
    if outcome.ratio is not None:
        theirs = f"{cell.ratio:.2f}"
    said = f"{', '.join(cited(cell))}, {measure(cell.measures)}: paper {theirs}"
    if not outcome.values:
        return f"{said}; {_lacking(cell, seed)}"
    count = f"{'seed' if len(outcome.values) == 1 else 'seeds'} {seeds(sorted(outcome.values))}"
    if not outcome.reduced:
        count += f" of {len(cell.seeds)}"
    failed = f"; {len(outcome.failed)} diverged" if outcome.failed else ""
    note = f", {_note(outcome)}" if outcome.reduced else ""
    return f"{said}, ours {_ours(outcome)} ({count}{failed}){note}"


def _ours(outcome: Outcome) -> str:
    """Our mean and deviation; of a cost, the ratio to plain training."""
    if outcome.ratio is not None:
        return f"{outcome.ratio:.2f} times plain training"
    numbers = mean_and_spread(list(outcome.values.values()), max(outcome.cell.decimals, 2))
    return f"{numbers}{_spaced(outcome.cell.unit)}"


def _lacking(cell: Cell, seed: int) -> str:
    """Why there is no number of ours although the run has one; empty if it has none."""
    if cell.best_of:
        return f"the best of {len(cell.runs)} runs counts, and others are missing"
    if seed not in cell.seeds:
        return f"seed {seed} does not count (planned: {seeds(cell.seeds)})"
    return ""  # a part of its evaluation was left out


def _note(outcome: Outcome) -> str:
    return f"reduced: {', '.join(outcome.reduced)}" if outcome.reduced else ""


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""


def _beside(outcome: Outcome) -> Beside:
    """A printed number and ours, as a logger shows them; of a cost they are ratios."""
    cell, label = outcome.cell, cited(outcome.cell)[1]
    if outcome.ratio is not None and cell.ratio is not None:
        return Beside(cell.table, label, cell.ratio, outcome.ratio, _note(outcome))
    assert outcome.mean is not None
    return Beside(cell.table, label, cell.value, outcome.mean, _note(outcome))
