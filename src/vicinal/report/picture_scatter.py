"""The README's picture of many numbers: the paper's error to the right, ours upwards, by paper."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

from vicinal.report import words
from vicinal.report.scales import Scale
from vicinal.tables import names
from vicinal.tables.outcome import Outcome

TOP, LEFT, SIZE = 122, 36, 144  # of the first panel
ACROSS, DOWN, SIDE = 184, 206, 3  # from panel to panel, and panels side by side
TICKS = (1, 3, 10, 30, 100)
LEAST = 1.0  # percent; smaller errors are drawn at the edge
KEYS, KEY = 3, (184, 20)  # verdicts in a line, and the room of each


@dataclass(frozen=True)
class Axis:
    """Errors in percent on a logarithmic scale, the same in all panels and both directions."""

    scale: Scale

    @classmethod
    def over(cls, errors: Sequence[float]) -> "Axis":
        """The axis that holds the errors."""
        low, high = max(min(errors), LEAST), max(*errors, 2 * LEAST)
        return cls(Scale(log10(low / 1.2), log10(high * 1.2)))

    def at(self, error: float) -> float:
        """A place between 0 and SIZE."""
        return SIZE * self.scale.at(log10(max(error, LEAST))) / 100

    @property
    def ticks(self) -> list[float]:
        """Round errors on it."""
        return [tick for tick in TICKS if not self.scale.side(log10(tick))]


def scatter(shown: Sequence[Outcome]) -> dict[str, Any]:
    """A panel per paper; numbers that are not percentages have no place in it."""
    drawn = [o for o in shown if o.cell.unit == "%" and o.cell.better != "none"]
    axis = Axis.over([error for o in drawn for error in _errors(o)]) if drawn else None
    papers = dict[str, list[Outcome]]()
    for outcome in drawn:
        papers.setdefault(outcome.cell.table.partition("/")[0], []).append(outcome)
    keys = Counter(o.verdict for o in drawn)
    below = TOP + DOWN * -(-len(papers) // SIDE)
    end = below + KEY[1] * -(-len(keys) // KEYS)
    return {
        "axis": axis,
        "size": SIZE,
        "panels": [
            _panel(axis, i, paper, found) for i, (paper, found) in enumerate(papers.items()) if axis
        ],
        "keys": [
            (LEFT + KEY[0] * (i % KEYS), below + KEY[1] * (i // KEYS), verdict, keys[verdict])
            for i, verdict in enumerate(v for v in words.VERDICTS if keys[v])
        ],
        "others": len(shown) - len(drawn),
        "least": LEAST,
        "clipped": any(min(_errors(o)) < LEAST for o in drawn),
        "end": end,
        "height": end + 38,
    }


def _panel(axis: Axis, index: int, paper: str, found: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "x": LEFT + ACROSS * (index % SIDE),
        "y": TOP + DOWN * (index // SIDE),
        "name": names.short(paper),
        "dots": [_dot(axis, outcome) for outcome in found],
    }


def _dot(axis: Axis, outcome: Outcome) -> dict[str, Any]:
    theirs, ours = _errors(outcome)
    half = outcome.difference.half_width if outcome.difference else 0.0
    low, high = (SIZE - axis.at(ours + sign * half) for sign in (-1, 1))
    x, y = axis.at(theirs), SIZE - axis.at(ours)
    return {"x": x, "y": y, "low": low, "high": high, "verdict": outcome.verdict}


def _errors(outcome: Outcome) -> tuple[float, float]:
    """The paper's number and ours; accuracies as what they lack to 100."""
    assert outcome.mean is not None
    pair = outcome.cell.value, outcome.mean
    return pair if outcome.cell.better == "lower" else (100 - pair[0], 100 - pair[1])
