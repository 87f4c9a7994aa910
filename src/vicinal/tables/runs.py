"""Runs side by side, whether a paper's table shows them or not."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from vicinal.tables.joined import Joined
from vicinal.tables.markdown import grid

Record = Mapping[str, Any]

READINGS = {"last": "last", "median10": "median of 10", "best_test": "best on test"}
HEAD = ("dataset", "model", "method", "run", "epochs", "seeds", *READINGS.values())


def by_run(records: Iterable[Record]) -> str:
    """A Markdown table of them."""
    return grid(HEAD, (row(name, seeds) for name, seeds in grouped(records).items()))


def grouped(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The seeds of each run."""
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda each: (each["name"], each["seed"])):
        groups.setdefault(record["name"], []).append(record)
    return groups


def row(name: str, seeds: Sequence[Record]) -> list[str]:
    """One run: test accuracy over its seeds, in each of the papers' readings."""
    epochs = str(seeds[0]["config"]["schedule"]["epochs"])
    whole = [seed for seed in seeds if "failed" not in seed]
    count = str(len(whole)) + (f", {len(seeds) - len(whole)} failed" if whole != seeds else "")
    readings = [spread([seed["metrics"][key]["top1"] for seed in whole]) for key in READINGS]
    return [*name.split("/"), epochs, count, *readings]


def of_no_table(every: Iterable[Joined], records: Iterable[Record]) -> list[Record]:
    """The records of which no table shows a number."""
    shown = {r["name"] for joined in every for o in joined.outcomes for r in o.records}
    return [record for record in records if record["name"] not in shown]


def against(ours: Iterable[Record], theirs: Iterable[Record]) -> str:
    """How far the runs that two sets of records share agree in their last test accuracy."""
    known = {(each["name"], each["seed"]): each for each in theirs if "failed" not in each}
    gaps = [
        abs(_top1(record) - _top1(known[record["name"], record["seed"]]))
        for record in ours
        if "failed" not in record and (record["name"], record["seed"]) in known
    ]
    equal = sum(gap == 0 for gap in gaps)
    most = f"; the largest difference is {max(gaps):.2f} points" if equal < len(gaps) else ""
    return f"{equal} of {len(gaps)} runs have the recorded accuracy to the last digit{most}"


def spread(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation; the mean alone where there is one value."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{mean(values):.2f} ± {stdev(values):.2f}"


def _top1(record: Record) -> float:
    return record["metrics"]["last"]["top1"]
