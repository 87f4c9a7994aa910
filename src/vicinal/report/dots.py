"""The paper's numbers beside ours, line by line; all places are in percent, to fit any width."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vicinal.report import words
from vicinal.report.scales import Scale
from vicinal.tables import names
from vicinal.tables.markdown import difference
from vicinal.tables.outcome import Outcome


@dataclass(frozen=True)
class Mark:
    """A number on a scale, with its interval; `side` is not 0 where it is off the scale."""

    at: float
    low: float
    high: float
    side: int

    @classmethod
    def on(cls, scale: Scale, value: float, half: float | None) -> "Mark":
        """The interval reaches `half` to both sides."""
        low, high = (scale.at(value + sign * (half or 0.0)) for sign in (-1, 1))
        return cls(scale.at(value), low, high, scale.side(value))


def plots(outcomes: Sequence[Outcome], place: str) -> list[dict[str, Any]]:
    """One per measure, of the numbers that there is a run of; `place` begins the ids in it."""
    kinds: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.mean is not None and outcome.cell.over is None:  # costs of other machines
            title = f"{names.measure(outcome.cell.measures)}, {outcome.cell.unit}"
            kinds.setdefault(title, []).append(outcome)
    return [
        {"place": f"{place}-{i}", "title": title, **_plot(found)}
        for i, (title, found) in enumerate(kinds.items())
    ]


def _plot(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    values = Scale.over(x for o in outcomes for x in _reach(o, outcomes))
    judged = [o.difference for o in outcomes if o.difference and not o.reduced]
    found = judged or [o.difference for o in outcomes if o.difference]
    far = 1.1 * max((abs(d.difference) + d.half_width for d in found), default=1.0)
    differences = Scale(-far, far)
    rows = unshared([o.cell.row for o in outcomes])
    columns = unshared([o.cell.column for o in outcomes])
    lines = []
    for outcome, row, column in zip(outcomes, rows, columns, strict=True):
        heading = row if column else ""
        label = column or row or outcome.cell.row[-1]
        line = _line(outcome, values, differences)
        lines.append({"heading": heading, "label": label, **line})
    return {"numbers": values, "differences": differences, "lines": lines}


def _line(outcome: Outcome, values: Scale, differences: Scale) -> dict[str, Any]:
    cell, found, mean = outcome.cell, outcome.difference, outcome.mean
    assert mean is not None
    off, half = (found.difference, found.half_width) if found else (mean - cell.value, None)
    return {
        "verdict": outcome.verdict,
        "theirs": Mark.on(values, cell.value, cell.spread),
        "ours": Mark.on(values, mean, outcome.spread),
        "off": Mark.on(differences, off, half),
        "difference": words.minus(difference(outcome)),
    }


def _reach(outcome: Outcome, among: Sequence[Outcome]) -> list[float]:
    """What the scale must hold; reduced runs only where there are no others."""
    cell, own, theirs = outcome.cell, outcome.spread or 0.0, outcome.cell.spread or 0.0
    paper = [cell.value - theirs, cell.value + theirs]
    if outcome.mean is None or (outcome.reduced and not all(o.reduced for o in among)):
        return paper
    return [*paper, outcome.mean - own, outcome.mean + own]


def unshared(labels: Sequence[Sequence[str]]) -> list[str]:
    """Each label without the parts that all of them share."""
    shared = set.intersection(*map(set, labels))
    return [", ".join(p for p in label if p and p not in shared) for label in labels]
