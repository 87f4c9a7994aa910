"""All differences at the papers' protocols in one picture, the most negative of a paper first."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from vicinal.report import words
from vicinal.report.dots import Mark
from vicinal.report.scales import Scale
from vicinal.tables import names
from vicinal.tables.markdown import difference
from vicinal.tables.outcome import Outcome

INSIDE = 0.93  # of the intervals lie within the scale


def caterpillar(outcomes: Iterable[Outcome]) -> dict[str, Any] | None:
    """The scale, and each paper's dots; None where there is no difference in points."""
    found = [o for o in outcomes if o.cell.unit == "%" and not o.reduced and o.difference]
    if not found:
        return None
    ends = sorted(abs(d.difference) + d.half_width for o in found if (d := o.difference))
    far = 1.05 * max(ends[int(INSIDE * (len(ends) - 1))], 1.0)
    scale = Scale(-far, far)
    papers = {}
    for paper, group in groupby(found, key=lambda o: o.cell.table.partition("/")[0]):
        ordered = sorted(group, key=lambda o: o.difference.difference if o.difference else 0.0)
        step = 100 / len(ordered)
        papers[paper] = [_dot(scale, step * (i + 0.5), o) for i, o in enumerate(ordered)]
    return {"scale": scale, "papers": papers, "says": _says(found)}


def _says(found: Sequence[Outcome]) -> str:
    """The picture in words."""
    gaps = [o.difference.difference for o in found if o.difference]
    low, high = (words.minus(f"{gap:+.2f}") for gap in (min(gaps), max(gaps)))
    verdicts = words.counted(o.verdict for o in found)
    return f"{words.many(len(found), 'difference')}, from {low} to {high} points: {verdicts}"


def _dot(scale: Scale, x: float, outcome: Outcome) -> dict[str, Any]:
    found = outcome.difference
    assert found is not None
    return {
        "x": x,
        "mark": Mark.on(scale, found.difference, found.half_width),
        "verdict": outcome.verdict,
        "cell": words.cell_id(outcome),
        "title": f"{': '.join(names.cited(outcome.cell))}: {words.minus(difference(outcome))}",
    }
