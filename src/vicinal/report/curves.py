"""Test error by epoch, in SVG: the mean over seeds, and a band from the lowest to the highest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log10
from statistics import mean
from typing import Any

from vicinal.report.dots import Scale
from vicinal.report.html import Html, tag

POINTS = 60  # of a curve
HUES = 8
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 210, 30, 12, 6, 28
FLOOR = 0.05  # percent: below it a logarithm says nothing

Point = tuple[int, float, float, float]  # epoch; lowest, mean and highest error


@dataclass(frozen=True)
class Line:
    """A run's seeds."""

    name: str
    records: Sequence[Mapping[str, Any]]

    @property
    def points(self) -> list[tuple[int, float, float, float]]:
        """(epoch, lowest, mean, highest) test error, at no more than POINTS epochs."""
        errors = [[100 - top1 for top1 in r["curves"]["test_top1"]] for r in self.records]
        last = min(map(len, errors)) - 1
        epochs = self.records[0]["curves"].get("epoch") or range(1, last + 2)
        chosen = sorted({round(i * last / (POINTS - 1)) for i in range(POINTS)})
        found = [(round(epochs[i]), [seed[i] for seed in errors]) for i in chosen]
        return [(epoch, min(each), mean(each), max(each)) for epoch, each in found]


def chart(title: str, lines: Sequence[Line]) -> Html:
    """Test error by epoch: the mean over seeds, and a band from the lowest to the highest."""
    drawn = [(line.name, line.points) for line in lines]
    epochs = max(points[-1][0] for _, points in drawn)
    every = [max(low, 0.05) for _, points in drawn for _, low, _, _ in points]
    highest = max(high for _, points in drawn for _, _, _, high in points)
    low, high = log10(min(every) * 0.9), log10(max(highest, 0.1) * 1.05)

    def x(epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (epoch - 1) / max(epochs - 1, 1)

    def y(error: float) -> float:
        part = (log10(max(error, 0.05)) - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part

    marks: list[Html] = []
    for tick in _log_ticks(10**low, 10**high):
        marks.append(tag("path", d=f"M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}", class_="rule"))
        marks.append(
            tag("text", f"{tick:g}", x=LEFT - 5, y=f"{y(tick) + 3.5:.1f}", text_anchor="end")
        )
    for tick in [1, *(t for t in Scale(1, epochs).ticks() if t % 1 == 0 and t >= 0.1 * epochs)]:
        if tick <= epochs:
            marks.append(
                tag("text", f"{tick:g}", x=f"{x(tick):.1f}", y=HEIGHT - 12, text_anchor="middle")
            )
    marks.append(tag("text", "epoch", x=WIDTH - RIGHT, y=HEIGHT - 1, text_anchor="end"))
    keys = []
    for i, (name, points) in enumerate(drawn):
        there = [(x(epoch), y(top)) for epoch, _, _, top in points]
        back = [(x(epoch), y(bottom)) for epoch, bottom, _, _ in reversed(points)]
        middle = [(x(epoch), y(centre)) for epoch, _, centre, _ in points]
        style, tenth = f"c{i % HUES}", "scale(.1)"
        if len(lines[i].records) > 1:
            band = f"{_path([*there, *back])}z"
            marks.append(tag("path", d=band, transform=tenth, class_=f"band {style}"))
        marks.append(tag("path", d=_path(middle), transform=tenth, class_=f"curve {style}"))
        key = tag("svg", tag("path", d="M0 5H20", class_=f"curve {style}"), class_="key")
        keys.append(tag("li", key, name, tag("span", f" {points[-1][2]:.2f}", class_="number")))
    label = f"Test error by epoch, {title}: " + "; ".join(
        f"{name} ends at {points[-1][2]:.2f} %" for name, points in drawn
    )
    svg = tag("svg", marks, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)
    heading = tag("p", title, tag("span", " test error, %, log scale", class_="over"))
    return tag("div", heading, svg, tag("ul", keys, class_="keys"), class_="chart")


def _path(points: Sequence[tuple[float, float]]) -> str:
    """In tenths, each point as its distance from the one before: the shortest to write."""
    tenths = [(round(10 * x), round(10 * y)) for x, y in points]
    steps = (
        f"{x - before[0]}{'' if y < before[1] else ' '}{y - before[1]}"
        for before, (x, y) in pairwise(tenths)
    )
    return f"M{tenths[0][0]} {tenths[0][1]}l{' '.join(steps)}".replace(" -", "-")


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers, as few as will do."""
    found: list[float] = []
    for steps in ((1,), (1, 2, 5), (1, 2, 3, 5, 7), range(1, 10)):
        every = [round(m * 10.0**power, 9) for power in range(-2, 3) for m in steps]
        found = [tick for tick in every if low <= tick <= high]
        if len(found) >= 3:
            break
    return found
