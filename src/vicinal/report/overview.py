"""What the first screen shows: coverage, verdicts, and the differences."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vicinal.report import words
from vicinal.report.caterpillar import caterpillar
from vicinal.tables.counts import by_chance
from vicinal.tables.outcome import Outcome


def overview(by_paper: Mapping[str, Sequence[Outcome]]) -> dict[str, Any]:
    """All numbers, by paper and together."""
    every = [outcome for outcomes in by_paper.values() for outcome in outcomes]
    apart = [o for o in every if o.verdict in ("better", "worse", "differs")]
    return {
        "papers": {paper: _covered(outcomes) for paper, outcomes in by_paper.items()},
        "total": _covered(every),
        "legend": _legend(o.verdict for o in every if o.cell.group != "quoted"),
        "run": [o.verdict for o in every if _has_run(o)],
        "quoted": [o.verdict for o in every if o.cell.group == "quoted"],
        "caterpillar": caterpillar(every),
        "apart": sorted(apart, key=_largest_first),
    }


def _covered(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """A line of the coverage table."""
    verdicts = [outcome.verdict for outcome in outcomes]
    counts = {
        "printed": len(outcomes),
        "runnable": sum(o.cell.trainable for o in outcomes),
        "run": sum(map(_has_run, outcomes)),
        "reproduced": sum(
            o.verdict == "reproduced" and o.cell.group == "authors" for o in outcomes
        ),
    }
    return {"verdicts": verdicts, "counts": counts}


def _has_run(outcome: Outcome) -> bool:
    """Whether there is a run of it at the paper's protocol."""
    return bool(outcome.values) and not outcome.reduced


def _legend(verdicts: Iterable[str]) -> list[tuple[str, int, float, str]]:
    """Each verdict with its count, what chance alone would make of it, and what it means."""
    count = Counter(verdicts)
    chance = by_chance(count)
    return [
        (verdict, count[verdict], chance.get(verdict, 0.0), meaning)
        for verdict, meaning in words.VERDICTS.items()
        if count[verdict] or verdict in words.ALWAYS
    ]


def _largest_first(outcome: Outcome) -> tuple[bool, str, float]:
    """Differences in percentage points before those in other units, and large ones first."""
    unit, found = outcome.cell.unit, outcome.difference
    return unit != "%", unit, -abs(found.difference) if found else 0.0
