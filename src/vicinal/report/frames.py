"""The frame that charts of curves share, and how a curve in it is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

HUES = 8  # of report.css, and so the most curves in one chart


@dataclass(frozen=True)
class Frame:
    """A drawing, and the part of it between labels on the left and below."""

    width: int = 360
    height: int = 210
    left: int = 30
    right: int = 348
    top: int = 6
    bottom: int = 182

    def across(self, share: float) -> float:
        """The place of a share from 0, on the left, to 1."""
        return self.left + (self.right - self.left) * share

    def up(self, share: float) -> float:
        """The place of a share from 0, at the bottom, to 1."""
        return self.bottom - (self.bottom - self.top) * share


FRAME = Frame()


def path(places: Sequence[tuple[float, float]]) -> str:
    """In tenths, each place relative to the one before it: the shortest way to write it."""
    tenths = [(round(10 * x), round(10 * y)) for x, y in places]
    steps = (
        f"{x - before[0]}{'' if y < before[1] else ' '}{y - before[1]}"
        for before, (x, y) in pairwise(tenths)
    )
    return f"M{tenths[0][0]} {tenths[0][1]}l{' '.join(steps)}".replace(" -", "-")
