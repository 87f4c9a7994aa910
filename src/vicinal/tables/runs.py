"""All runs side by side, whether or not a paper's table shows them."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from vicinal.tables.markdown import grid
from vicinal.tables.results import TableResults

Record = Mapping[str, Any]

REPORTS = {"last": "last", "median10": "median of 10", "best_test": "best on test"}
MEASURES = {  # names and units
    "top1": ("accuracy", "%"),
    "average_precision": ("average precision", "%"),
    "perplexity": ("perplexity", ""),
}
HEAD = ("dataset", "model", "method", "run", "epochs", "seeds", *REPORTS.values())


def by_run(records: Iterable[Record]) -> str:
    """A Markdown table with one row per run."""
    return grid(HEAD, (row(name, seeds) for name, seeds in grouped(records).items()))


def grouped(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The records of each run, one per seed."""
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda each: (each["name"], each["seed"])):
        groups.setdefault(record["name"], []).append(record)
    return groups


def row(name: str, seeds: Sequence[Record]) -> list[str]:
    """One run: its number on test data over seeds, at each epoch that a paper may report."""
    epochs = str(seeds[0]["config"]["schedule"]["epochs"])
    finished = [seed for seed in seeds if "failed" not in seed]
    num_failed = len(seeds) - len(finished)
    count = f"{len(finished)}, {num_failed} failed" if num_failed else f"{len(finished)}"
    return [*name.split("/"), epochs, count, *(_number(finished, key) for key in REPORTS)]


def _number(seeds: Sequence[Record], report: str) -> str:
    """The test accuracy; or another measure, which is called by its name."""
    if not seeds:
        return ""
    measure = measure_of(seeds[0])
    found = mean_and_spread([seed["metrics"][report][measure] for seed in seeds])
    return found if measure == "top1" else f"{MEASURES[measure][0]} {found}"


def measure_of(record: Record) -> str:
    """What a run is judged by: top1, of a detector average_precision, of text the perplexity."""
    return next(key for key in MEASURES if key in record["metrics"]["last"])


def unlisted_runs(tables: Iterable[TableResults], records: Iterable[Record]) -> list[Record]:
    """The records that no table shows a number of."""
    outcomes = (outcome for results in tables for outcome in results.outcomes)
    listed = {record["name"] for outcome in outcomes for record in outcome.records}
    return [record for record in records if record["name"] not in listed]


def agreement(ours: Iterable[Record], theirs: Iterable[Record]) -> str:
    """How far two sets of records agree in the last test numbers of the runs they share."""
    others = {(each["name"], each["seed"]): each for each in theirs if "failed" not in each}
    gaps: dict[str, list[float]] = {}
    for record in ours:
        if "failed" not in record and (record["name"], record["seed"]) in others:
            gap = abs(_last(record) - _last(others[record["name"], record["seed"]]))
            gaps.setdefault(measure_of(record), []).append(gap)
    return "\n".join(_agreement(measure, of) for measure, of in (gaps or {"top1": []}).items())


def _agreement(measure: str, gaps: Sequence[float]) -> str:
    name, unit = MEASURES[measure]
    equal = sum(gap == 0 for gap in gaps)
    points = " points" if unit == "%" else ""
    largest = f"; the largest difference is {max(gaps):.2f}{points}" if equal < len(gaps) else ""
    return f"{equal} of {len(gaps)} runs have the recorded {name} to the last digit{largest}"


def mean_and_spread(values: Sequence[float], decimals: int = 2) -> str:
    """Mean ± sample standard deviation; the mean alone if there is one value."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.{decimals}f}"
    return f"{mean(values):.{decimals}f} ± {stdev(values):.{decimals}f}"


def _last(record: Record) -> float:
    return record["metrics"]["last"][measure_of(record)]
