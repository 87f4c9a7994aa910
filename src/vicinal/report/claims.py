"""What a paper orders, claim by claim, and what our runs say about each pair."""

from collections import Counter
from typing import Any

from vicinal.report import words
from vicinal.tables.counts import ORDERINGS
from vicinal.tables.markdown import deviation, with_half_width
from vicinal.tables.outcome import Ordering
from vicinal.tables.results import TableResults

VERDICTS = (*ORDERINGS[:-1], *(f"{verdict}, reduced" for verdict in ORDERINGS[:-1]), "not run")


def claims(results: TableResults) -> list[dict[str, Any]]:
    """Each claim with its verdicts, and with the pairs that there is something to say about."""
    by_claim: dict[str, list[dict[str, Any]]] = {}
    for compared in results.orderings:
        by_claim.setdefault(compared.claim.says, []).append(_pair(compared))
    return [
        {
            "says": says,
            "size": len(pairs),
            "verdicts": [(v, count[v]) for v in VERDICTS if count[v]],
            "doubted": sum(not pair["printed_so"] for pair in pairs),
            "pairs": [p for p in pairs if p["verdict"] != "not run" or not p["printed_so"]],
        }
        for says, pairs in by_claim.items()
        for count in [Counter(pair["verdict"] for pair in pairs)]
    ]


def _pair(compared: Ordering) -> dict[str, Any]:
    one, two, gain = compared.better.cell, compared.worse.cell, compared.gain
    parts = list(zip((*one.row, *one.column), (*two.row, *two.column), strict=True))
    verdict = compared.verdict
    reduced = compared.reduced and verdict != "not run"
    better, worse = next((part for part in parts if part[0] != part[1]), ("", ""))
    return {
        "better": better,
        "worse": worse,
        "shared": ", ".join(ours for ours, theirs in parts if ours == theirs),
        "printed": words.minus(f"{one.printed} / {two.printed}"),
        "printed_so": compared.paper_agrees,  # whether the paper's own numbers are in this order
        "gain": "" if gain is None else words.minus(with_half_width(gain, one.decimals)),
        "seeds": compared.num_seeds,
        "deviation": deviation(gain, one.decimals),
        "verdict": f"{verdict}, reduced" if reduced else verdict,
    }
