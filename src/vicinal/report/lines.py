"""Accuracy in percent over a number that grows from 0, such as ε or a certified radius."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from vicinal.report.frames import FRAME, path
from vicinal.report.scales import Scale


@dataclass(frozen=True)
class Line:
    """One curve; `name` and `number` stand in the key, `title` is seen on pointing at it."""

    points: Sequence[tuple[float, float]]  # a number and the accuracy there
    look: str  # its classes
    title: str
    name: str = ""  # without one it is not in the key
    number: str = ""


@dataclass(frozen=True)
class Axes:
    """The number to the right, the accuracy upwards; both from 0."""

    last: float
    best: float

    def x(self, at: float) -> float:
        """A number's place."""
        return FRAME.across(at / self.last)

    def y(self, accuracy: float) -> float:
        """An accuracy's place."""
        return FRAME.up(accuracy / self.best)

    @property
    def columns(self) -> list[float]:
        """Round numbers."""
        return [0.0, *Scale(0.0, self.last).ticks(5)]

    @property
    def rows(self) -> list[float]:
        """Round accuracies."""
        return [0.0, *Scale(0.0, self.best).ticks()]


def chart(title: str, measure: str, over: str, says: str, lines: Sequence[Line]) -> dict[str, Any]:
    """The chart of some lines, for charts.html.j2; `says` describes it to those who cannot see."""
    every = [point for line in lines for point in line.points]
    last, best = (max(each[i] for each in every) for i in (0, 1))
    axes = Axes(last or 1.0, max(10.0 * ceil(best / 10), 10.0))
    return {
        "title": title,
        "measure": measure,
        "over": over,
        "says": says,
        "frame": FRAME,
        "axes": axes,
        "nought": False,  # its rows have one
        "curves": [_curve(axes, line) for line in lines],
    }


def _curve(axes: Axes, line: Line) -> dict[str, Any]:
    places = [(axes.x(at), axes.y(accuracy)) for at, accuracy in sorted(line.points)]
    drawn = {"line": path(places), "band": None}
    return drawn | {key: getattr(line, key) for key in ("name", "look", "title", "number")}
