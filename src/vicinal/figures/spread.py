"""Numbers over seeds: all values, their mean, and their sample standard deviation."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

Numbers = Mapping[str, float | None]


def over_seeds(runs: Sequence[Numbers]) -> dict[str, dict[str, Any]]:
    """Values, mean and std of each measure, over the seeds that have the number."""
    return {name: _spread([run[name] for run in runs]) for name in runs[0]}


def _spread(values: list[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {
        "values": values,
        "mean": fmean(known) if known else None,
        "std": stdev(known) if len(known) > 1 else None,
    }
