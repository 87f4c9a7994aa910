"""Test error by epoch: for each run the mean over its seeds, with a band from lowest to highest.

Language models have perplexities in its place, detectors their average precision.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log10
from statistics import mean
from typing import Any

from vicinal.report.frames import FRAME, HUES, path
from vicinal.report.scales import Scale

POINTS = 60  # per curve
ZERO = 14.0  # between the bottom line, which stands for 0, and where the scale begins
STEPS = ((1,), (1, 2, 5), (1, 2, 3, 5, 7), range(1, 10), [step / 2 for step in range(2, 20)])

Record = Mapping[str, Any]
Point = tuple[int, float, float, float]  # epoch; lowest, mean and highest number


@dataclass(frozen=True)
class Measure:
    """What a chart draws: offset + scale times a number of the records."""

    key: str
    name: str
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0

    @property
    def title(self) -> str:
        """What the chart's upward axis says."""
        return ", ".join(filter(None, (self.name, self.unit, "log scale")))

    def of(self, record: Record) -> list[float]:
        """By epoch."""
        return [self.offset + self.scale * number for number in record["curves"][self.key]]


MEASURES = (
    Measure("test_top1", "test error", "%", -1.0, 100.0),
    Measure("test_average_precision", "test average precision", "%"),
    Measure("test_perplexity", "test perplexity"),
)
Kind = tuple[str, Measure]  # dataset and network, and what is drawn


@dataclass(frozen=True)
class Axes:
    """Epochs to the right, the logarithm of the number upwards, and 0 below it where it occurs."""

    last: int
    low: float
    high: float
    zero: bool = False

    @classmethod
    def over(cls, points: Sequence[Point]) -> "Axes":
        """The axes that hold the points."""
        numbers = [number for _, *three in points for number in three]
        low = min((number for number in numbers if number > 0), default=1.0)
        last, high = max(epoch for epoch, *_ in points), max(*numbers, low)
        return cls(last, low * 0.9, high * 1.05, min(numbers) <= 0)

    def x(self, epoch: float) -> float:
        """An epoch's place."""
        return FRAME.across((epoch - 1) / max(self.last - 1, 1))

    def y(self, number: float) -> float:
        """A number's place."""
        if number <= 0:
            return FRAME.bottom
        low, high = log10(self.low), log10(self.high)
        start = ZERO / (FRAME.bottom - FRAME.top) if self.zero else 0.0
        return FRAME.up(start + (1 - start) * (log10(number) - low) / (high - low))

    @property
    def columns(self) -> list[float]:
        """The first epoch, and round ones."""
        scale = Scale(1, max(self.last, 2))  # a run of one epoch spans none
        ticks = [t for t in scale.ticks() if t % 1 == 0 and t >= 0.1 * self.last]
        return [tick for tick in (1, *ticks) if tick <= self.last]

    @property
    def rows(self) -> list[float]:
        """Round numbers: at least three where that is possible, and few."""
        found: list[float] = []
        for steps in STEPS:
            every = [round(m * 10.0**power, 9) for power in range(-2, 6) for m in steps]
            found = [tick for tick in every if self.low <= tick <= self.high]
            if len(found) >= 3:
                break
        return found


def charts(named: Iterable[tuple[str, Sequence[Record]]]) -> list[dict[str, Any]]:
    """Charts by dataset and network of runs, each given by a name and its seeds.

    A run that is given several times is drawn once, under its first name.
    """
    kinds: dict[Kind, dict[str, tuple[str, list[Record]]]] = {}
    for name, seeds in named:
        finished = [record for record in seeds if "failed" not in record and _trained(record)]
        for measure in MEASURES:
            if whole := [record for record in finished if measure.key in record["curves"]]:
                kind = ", ".join(whole[0]["name"].split("/")[:2])
                kinds.setdefault((kind, measure), {}).setdefault(whole[0]["name"], (name, whole))
    return [
        _chart(*kind, list(runs.values())[start : start + HUES])
        for kind, runs in kinds.items()
        for start in range(0, len(runs), HUES)
    ]


def _trained(record: Record) -> bool:
    return record["curves"].get("epoch") != [0]


def _chart(
    title: str, measure: Measure, runs: Sequence[tuple[str, Sequence[Record]]]
) -> dict[str, Any]:
    drawn = [(name, _points(measure, seeds), len(seeds) > 1) for name, seeds in runs]
    every = [point for _, points, _ in drawn for point in points]
    axes = Axes.over(every)
    unit = f" {measure.unit}".rstrip()
    ends = "; ".join(f"{name} ends at {points[-1][2]:.2f}{unit}" for name, points, _ in drawn)
    return {
        "title": title,
        "measure": f"{measure.title} with 0 below" if axes.zero else measure.title,
        "over": "epoch",
        "says": f"{measure.name.capitalize()} by epoch, {title}: {ends}",
        "frame": FRAME,
        "axes": axes,
        "nought": axes.zero,
        "curves": [_curve(axes, i, *each) for i, each in enumerate(drawn)],
    }


def _points(measure: Measure, seeds: Sequence[Record]) -> list[Point]:
    """At most POINTS epochs, evenly spaced."""
    curves = [measure.of(seed) for seed in seeds]
    last = min(map(len, curves)) - 1
    epochs = seeds[0]["curves"].get("epoch") or range(1, last + 2)
    chosen = sorted({round(i * last / (POINTS - 1)) for i in range(POINTS)})
    found = [(round(epochs[i]), [each[i] for each in curves]) for i in chosen]
    return [(epoch, min(each), mean(each), max(each)) for epoch, each in found]


def _curve(
    axes: Axes, hue: int, name: str, points: Sequence[Point], banded: bool
) -> dict[str, Any]:
    there = [(axes.x(epoch), axes.y(high)) for epoch, _, _, high in points]
    back = [(axes.x(epoch), axes.y(low)) for epoch, low, _, _ in reversed(points)]
    middle = [(axes.x(epoch), axes.y(centre)) for epoch, _, centre, _ in points]
    band = f"{path([*there, *back])}z" if banded else None
    said = {"name": name, "title": "", "number": f"{points[-1][2]:.2f}"}
    return said | {"look": f"c{hue}", "line": path(middle), "band": band}
