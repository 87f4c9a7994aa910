"""Accuracy under attacks, beside that under the yardstick, so that a weak attack is seen as one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

from vicinal.report import words
from vicinal.report.frames import HUES
from vicinal.report.lines import Line, chart
from vicinal.report.panels import Named, named, settings_but, target
from vicinal.report.yardsticks import (
    UNKNOWN,
    Heading,
    Yardsticks,
    ball,
    heading,
    in_turn,
    left,
    short,
    yardsticks,
)
from vicinal.tables.measured import Measured, measured
from vicinal.tables.runs import mean_and_spread

CURVE = 3  # values of ε that are worth a plot

Record = Mapping[str, Any]
Points = Mapping[float, str]  # by ε the number's name
Beside = Mapping[tuple[str, str], Yardsticks]  # by run and report


@dataclass(frozen=True)
class Columns:
    """The numbers that a panel shows, by attack; and by ε, where there is a list of them."""

    single: Mapping[Heading, str]
    curves: Mapping[Heading, Points]

    @classmethod
    def of(cls, each: Measured) -> "Columns":
        """Those of an evaluation."""
        if target(each) != "Attacked":
            return cls(in_turn(each), {})
        attacks, epsilons = each.config["attacks"].items(), each.config.get("epsilons")
        if epsilons is None:
            return cls({Heading(name, ball(of)): f"{name}_top1" for name, of in attacks}, {})
        curves = {
            Heading(name, ball(of, with_epsilon=False)): {
                epsilon: f"{name}_{epsilon:g}_top1" for epsilon in epsilons
            }
            for name, of in attacks
        }
        return cls({}, curves)

    @property
    def epsilons(self) -> list[str]:
        """What stands above the numbers along curves."""
        return [short(epsilon) for points in self.curves.values() for epsilon in points]

    @property
    def numbers(self) -> list[str]:
        """The names of all numbers, from left to right."""
        return [*self.single.values(), *(n for of in self.curves.values() for n in of.values())]


def attacks(records: Iterable[Record]) -> list[dict[str, Any]]:
    """A panel per dataset, network, evaluation, and run whose network makes the examples.

    Runs on which the yardstick alone was measured have a panel of their own.
    """
    every = measured(records)
    attacked, beside = [each for each in every if target(each) == "Attacked"], yardsticks(every)
    known = {(each.run, each.report) for each in attacked}
    alone = [each for at, found in beside.items() if at not in known for each in found.values()]
    panels: dict[tuple[str, ...], list[Measured]] = {}
    for each in (*attacked, *alone):
        panels.setdefault(_key(each), []).append(each)
    return [_panel(key, found, beside) for key, found in sorted(panels.items())]


def _key(each: Measured) -> tuple[str, ...]:
    """What runs share in a panel; the network that makes the examples may have any seed."""
    dataset, model, *_ = each.run.split("/")
    kind = dataset, model, each.name, each.report
    if not (sources := _sources(each)):
        return *kind, each.settings
    return *kind, settings_but("source", each), sources[0][0]


def _sources(each: Measured) -> list[tuple[str, int]]:
    """The runs whose networks make the examples, by name and seed; none if that is its own."""
    found = (entry["source"] for entry in each.entries if entry["config"].get("source"))
    return [(source["name"], source["seed"]) for source in found]


def _joined(found: Sequence[Measured]) -> list[Measured]:
    """One per run: its seeds may be attacked from different seeds of another run."""
    runs: dict[str, list[Measured]] = {}
    for each in found:
        runs.setdefault(each.run, []).append(each)
    return [
        replace(
            same[0],
            entries=[entry for each in same for entry in each.entries],
            reduced=any(each.reduced for each in same),
        )
        for same in runs.values()
    ]


def _panel(key: Sequence[str], found: Sequence[Measured], beside: Beside) -> dict[str, Any]:
    (dataset, model, *_), first, runs = key, found[0], named(_joined(found))
    title, columns = f"{dataset}, {model}", Columns.of(first)
    kinds = _kinds(found, beside)
    return {
        "id": words.slug("-".join(("attacks", *key))),
        "title": title,
        "evaluation": first,
        "report": words.REPORTS[first.report],
        "settings": sorted({each.settings for each in found}),
        "source": _said_source(found),
        "columns": columns,
        "yardsticks": [*kinds.values()] or [UNKNOWN],
        "rows": [_row(name, each, columns, [*kinds], beside) for name, each in runs],
        "charts": _charts(title, columns, runs),
    }


def _kinds(found: Sequence[Measured], beside: Beside) -> dict[str, Heading]:
    """The yardsticks of these runs, by their settings: a column each, so that none are mixed."""
    if target(found[0]) != "Attacked":
        return {found[0].settings: heading(found[0])}
    every = (own for each in found for own in beside.get((each.run, each.report), {}).items())
    kinds = {settings: heading(each) for settings, each in every}
    return dict(sorted(kinds.items(), key=lambda kind: (kind[1].name, kind[1].ball, kind[0])))


def _said_source(found: Sequence[Measured]) -> tuple[str, str] | None:
    """The name of the run whose networks make the examples, and their seeds."""
    sources = [source for each in found for source in _sources(each)]
    if not sources:
        return None
    seeds = sorted({seed for _, seed in sources})
    return sources[0][0], f"{'seed' if len(seeds) == 1 else 'seeds'} {words.seeds(seeds)}"


def _row(
    name: str, each: Measured, columns: Columns, kinds: Sequence[str], beside: Beside
) -> dict[str, Any]:
    own = beside.get((each.run, each.report), {})
    shown = [own.get(kind) for kind in kinds]
    warned = [*each.warnings, *(text for one in shown if one for text in one.warnings)]
    return {
        "name": name,
        "seeds": len(each.entries),
        "cells": [_said(each, number) for number in ("clean_top1", *columns.numbers)],
        "yardsticks": [left(one) if one else None for one in shown] or [None],
        "warnings": list(dict.fromkeys(warned)),
    }


def _said(each: Measured, number: str) -> str:
    return mean_and_spread(each.values(number)) if number in each.numbers else ""


def _charts(title: str, columns: Columns, runs: Named) -> list[dict[str, Any]]:
    return [
        _chart(title, attack, points, runs[start : start + HUES])
        for attack, points in columns.curves.items()
        if len(points) >= CURVE
        for start in range(0, len(runs), HUES)
    ]


def _chart(title: str, attack: Heading, points: Points, runs: Named) -> dict[str, Any]:
    """Accuracy over ε; at 0 it is that on clean images."""
    at = {0.0: "clean_top1"} | dict(points)
    lines = list[Line]()
    for i, (name, each) in enumerate(runs):
        found = [(e, mean(each.values(of))) for e, of in at.items() if of in each.numbers]
        lines.append(Line(found, f"c{i}", name, name, f"{max(found)[1]:.2f}"))
    ends = "; ".join(f"{line.name} ends at {line.number} %" for line in lines)
    says = f"Accuracy under {attack.name} over ε, {title}: {ends}"
    over = f"ε, {attack.ball}" if attack.ball else "ε"
    return chart(attack.name, "accuracy, %", over, says, lines)
