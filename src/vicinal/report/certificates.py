"""Certified accuracy by L2 radius: a curve per run, and per method the best of its runs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

from vicinal.report import words
from vicinal.report.frames import HUES
from vicinal.report.lines import Line, chart
from vicinal.report.panels import method, named, settings_but, target
from vicinal.tables.measured import Measured, measured
from vicinal.tables.runs import mean_and_spread

RADIUS = re.compile(r"(\d+(?:\.\d+)?)_certified_accuracy")

Record = Mapping[str, Any]
Curve = Mapping[float, float]  # by radius the accuracy


def certificates(records: Iterable[Record]) -> list[dict[str, Any]]:
    """A panel per dataset, network and evaluation.

    Its runs may differ in the σ they are certified with, and in no other setting.
    """
    panels: dict[tuple[str, ...], list[Measured]] = {}
    for each in measured(records):
        if target(each) == "Certified":
            dataset, model, *_ = each.run.split("/")
            settings = settings_but("sigma", each)
            panels.setdefault((dataset, model, each.name, each.report, settings), []).append(each)
    return [_panel(key, found) for key, found in panels.items()]


def _panel(key: tuple[str, ...], found: Sequence[Measured]) -> dict[str, Any]:
    (dataset, model, *_), first = key, found[0]
    title = f"{dataset}, {model}"
    runs = named(found, lambda each: f"{method(each)}, \u03c3 = {each.config['sigma']:g}")
    radii = sorted({radius for each in found for radius in _radii(each)})
    best = envelopes(found)
    return {
        "id": words.slug("-".join(("certificates", *key))),
        "title": title,
        "evaluation": first,
        "report": words.REPORTS[first.report],
        "radii": [f"{radius:g}" for radius in radii],
        "runs": [_row(name, each, radii) for name, each in runs],
        "best": [(name, [_cell(curve, r) for r in radii]) for name, curve in best.items()],
        "charts": _charts(title, runs, best),
    }


def envelopes(found: Iterable[Measured]) -> Mapping[str, Curve]:
    """For each method the best of its runs' means at each radius; reduced runs stand apart."""
    best = dict[str, dict[float, float]]()
    for each in found:
        curve = best.setdefault(_family(each), {})
        for radius, accuracy in _means(each).items():
            curve[radius] = max(accuracy, curve.get(radius, 0.0))
    return best


def _family(each: Measured) -> str:
    """The runs that share an envelope."""
    return f"{method(each)} (reduced)" if each.reduced else method(each)


def _radii(each: Measured) -> dict[float, str]:
    """The radii that were measured, and the names of the numbers at them."""
    sets = [match for name in each.numbers if (match := RADIUS.fullmatch(name))]
    return {float(found[1]): found[0] for found in sets}


def _means(each: Measured) -> dict[float, float]:
    return {radius: mean(each.values(name)) for radius, name in _radii(each).items()}


def _row(name: str, each: Measured, radii: Sequence[float]) -> dict[str, Any]:
    numbers = _radii(each)
    return {
        "name": name,
        "seeds": len(each.entries),
        "abstained": mean_and_spread(each.values("abstained")),
        "mean_radius": mean_and_spread(each.values("mean_radius"), 3),
        "accuracies": [
            mean_and_spread(each.values(numbers[radius]), 1) if radius in numbers else ""
            for radius in radii
        ],
    }


def _cell(curve: Curve, radius: float) -> str:
    return f"{curve[radius]:.1f}" if radius in curve else ""


def _charts(
    title: str, runs: Sequence[tuple[str, Measured]], best: Mapping[str, Curve]
) -> list[dict[str, Any]]:
    """Runs of a method share its colour, and its envelope is the thicker line."""
    found = list(best.items())
    return [_chart(title, runs, dict(found[i : i + HUES])) for i in range(0, len(found), HUES)]


def _chart(
    title: str, runs: Sequence[tuple[str, Measured]], best: Mapping[str, Curve]
) -> dict[str, Any]:
    looks = {name: f"c{i}" for i, name in enumerate(best)}
    lines = [
        Line(list(_means(each).items()), f"one {looks[_family(each)]}", name)
        for name, each in runs
        if _family(each) in looks
    ]
    lines += [
        Line(list(curve.items()), f"best {looks[name]}", f"{name}, best of its runs", name)
        for name, curve in best.items()
    ]
    spoken = "; ".join(f"{name} {_spoken(curve)}" for name, curve in best.items())
    says = f"Certified accuracy by L2 radius, {title}, the best of each method's runs: {spoken}"
    return chart(title, "certified accuracy, %", "L2 radius", says, lines)


def _spoken(curve: Curve) -> str:
    """The accuracies up to the first radius at which there is none."""
    radii = sorted(curve)
    shown = [r for r in radii if curve[r]]
    return words.listed(f"{curve[r]:.1f} % at {r:g}" for r in radii[: len(shown) + 1])
