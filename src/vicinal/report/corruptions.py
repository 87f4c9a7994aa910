"""Accuracy on corrupted test images: a map per method, and a bar for what papers print of it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from statistics import mean, stdev
from typing import Any

from vicinal.images.corruptions.corrupt import COMMON, SEVERITIES
from vicinal.report import words
from vicinal.report.dots import Mark
from vicinal.report.panels import Named, named
from vicinal.report.scales import Scale
from vicinal.tables.measured import Measured, measured
from vicinal.tables.runs import mean_and_spread

SET = re.compile(r"(.+)_([1-5])_top1")

Record = Mapping[str, Any]
Means = Mapping[tuple[str, int], float]  # by corruption and severity


def corruptions(records: Iterable[Record]) -> list[dict[str, Any]]:
    """A panel per dataset, network and evaluation.

    Different settings have different panels, so no number of generated sets, or relative to
    another baseline, stands beside others.
    """
    panels: dict[tuple[str, str, str], list[Measured]] = {}
    for each in measured(records):
        if each.config.get("_target_", "").endswith(".Corrupted"):
            dataset, model, *_ = each.run.split("/")
            panels.setdefault((dataset, model, each.key), []).append(each)
    return [_panel(dataset, model, found) for (dataset, model, _), found in panels.items()]


def _panel(dataset: str, model: str, found: Sequence[Measured]) -> dict[str, Any]:
    first, methods = found[0], named(found)
    tables = [(name, _means(each)) for name, each in methods]
    every = [value for _, means in tables for value in means.values()]
    scale = _tens(every)
    return {
        "id": words.slug(f"corruptions-{dataset}-{model}-{first.key}"),
        "title": f"{dataset}, {model}",
        "evaluation": first,
        "report": words.REPORTS[first.report],
        "severities": list(SEVERITIES),
        "scale": scale,
        "maps": [{"name": name, "rows": _rows(means, scale)} for name, means in tables],
        "bars": _bars(methods),
    }


def _means(each: Measured) -> Means:
    """The mean accuracy over seeds of each set."""
    sets = [match for name in each.numbers if (match := SET.fullmatch(name))]
    return {(found[1], int(found[2])): mean(each.values(found[0])) for found in sets}


def _tens(accuracies: Sequence[float]) -> Scale:
    """The range of the accuracies, which are at most 100, between whole tens."""
    low = 10 * min(min(accuracies) // 10, 9)
    return Scale(low, max(10 * ceil(max(accuracies) / 10), low + 10))


def _rows(means: Means, scale: Scale) -> list[tuple[str, list[tuple[float, float] | None]]]:
    """The corruptions that were measured: by severity the accuracy and its place on the scale."""
    found = {kind for kind, _ in means}
    cells = {place: (accuracy, scale.at(accuracy)) for place, accuracy in means.items()}
    return [
        (kind.replace("_", " "), [cells.get((kind, severity)) for severity in SEVERITIES])
        for kind in (*COMMON, *sorted(found - {*COMMON}))
        if kind in found
    ]


def _bars(methods: Named) -> dict[str, Any] | None:
    """A bar per method, with the deviation over seeds; None if some corruptions were left out."""
    title, errors = _errors(methods)
    if not errors:
        return None
    spreads = {name: stdev(found) if len(found) > 1 else 0.0 for name, found in errors.items()}
    scale = Scale(0.0, max(mean(errors[name]) + spreads[name] for name in errors) or 1.0)
    lines = [
        {
            "name": name,
            "mark": Mark.on(scale, mean(found), spreads[name]),
            "said": f"{mean_and_spread(found)} ({len(found)})",
        }
        for name, found in errors.items()
    ]
    return {"title": title, "lines": lines}


def _errors(methods: Named) -> tuple[str, dict[str, list[float]]]:
    """mCE or else the mean error over corruptions, by method and seed, if it was measured."""
    shared = set.intersection(*(set(each.numbers) for _, each in methods))
    if "mce" in shared:
        return "mCE", {name: each.values("mce") for name, each in methods}
    if "robust_accuracy" not in shared:
        return "", {}
    accuracies = {name: each.values("robust_accuracy") for name, each in methods}
    errors = {name: [100 - each for each in found] for name, found in accuracies.items()}
    return "Mean corruption error", errors
