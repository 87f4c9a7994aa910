"""A range of numbers, their places on it in percent, and round numbers to label it with."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, log10


@dataclass(frozen=True)
class Scale:
    """A range of numbers."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float]) -> "Scale":
        """The range of the values, with a margin on both sides."""
        found = list(values)
        low, high = min(found), max(found)
        room = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
        return cls(low - room, high + room)

    def at(self, value: float) -> float:
        """From 0 to 100; values outside the range are put at its ends."""
        return min(max(100 * (value - self.low) / (self.high - self.low), 0.0), 100.0)

    def side(self, value: float) -> int:
        """-1 for a value below the range, 1 for one above it, 0 for one inside."""
        return (value > self.high) - (value < self.low)

    def ticks(self, most: int = 4) -> list[float]:
        """About `most` round numbers in the range."""
        rough = (self.high - self.low) / most
        power = 10.0 ** floor(log10(rough))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
        first = floor(self.low / step) + 1
        found = [step * (first + i) for i in range(2 * most + 2)]
        return [round(tick, 10) + 0.0 for tick in found if tick <= self.high]
