"""Tables made from records, in Markdown; the same records give the same bytes."""

from collections import defaultdict
from statistics import mean, stdev
from typing import Any

READINGS = {"last": "last", "median10": "median of 10", "best_test": "best on test"}


def by_run(records: list[dict[str, Any]]) -> str:
    """One row a run: test accuracy over its seeds, in each of the papers' readings."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record["name"]].append(record)
    head = ["dataset", "model", "method", "run", "epochs", "seeds", *READINGS.values()]
    rows = [_row(name, groups[name]) for name in sorted(groups)]
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def against(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    """How far the runs that two sets of records share agree in their last test accuracy."""
    known = {(each["name"], each["seed"]): each for each in theirs if "failed" not in each}
    gaps = [
        abs(top1(record) - top1(known[record["name"], record["seed"]]))
        for record in ours
        if "failed" not in record and (record["name"], record["seed"]) in known
    ]
    equal = sum(gap == 0 for gap in gaps)
    most = f"; the largest difference is {max(gaps):.2f} points" if equal < len(gaps) else ""
    return f"{equal} of {len(gaps)} runs have the recorded accuracy to the last digit{most}"


def top1(record: dict[str, Any]) -> float:
    """Test accuracy after the last epoch."""
    return record["metrics"]["last"]["top1"]


def _row(name: str, seeds: list[dict[str, Any]]) -> list[str]:
    epochs = str(seeds[0]["config"]["schedule"]["epochs"])
    whole = [seed for seed in seeds if "failed" not in seed]
    count = str(len(whole)) + (f", {len(seeds) - len(whole)} failed" if whole != seeds else "")
    readings = [spread([seed["metrics"][key]["top1"] for seed in whole]) for key in READINGS]
    return [*name.split("/"), epochs, count, *readings]


def spread(values: list[float]) -> str:
    """Mean ± sample standard deviation; the mean alone where there is one value."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{mean(values):.2f} ± {stdev(values):.2f}"
