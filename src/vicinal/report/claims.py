"""What a paper orders, claim by claim, and what our runs say of each pair."""

from collections import Counter
from collections.abc import Sequence

from vicinal.report import words
from vicinal.report.html import Html, tag
from vicinal.tables.counts import ORDERINGS
from vicinal.tables.markdown import deviation, with_half_width
from vicinal.tables.outcome import Ordering
from vicinal.tables.results import TableResults


def claims(joined: TableResults) -> Html | None:
    """Each claim with its pairs' verdicts."""
    if not joined.orderings:
        return None
    by_claim: dict[str, list[Ordering]] = {}
    for pair in joined.orderings:
        by_claim.setdefault(pair.claim.says, []).append(pair)
    items = [_claim(says, pairs) for says, pairs in by_claim.items()]
    heading = tag("h4", "Orderings that the paper states")
    return tag("div", heading, tag("ul", items), class_="claims")


def _claim(says: str, pairs: Sequence[Ordering]) -> Html:
    count = Counter(_spoken(pair) for pair in pairs)
    order = [*ORDERINGS[:-1], *(f"{x}, reduced" for x in ORDERINGS[:-1]), "not run"]
    chips = [
        _chip(verdict, f"{verdict} {count[verdict]}" if len(pairs) > 1 else verdict)
        for verdict in order
        if count[verdict]
    ]
    unborne = sum(not pair.paper_agrees for pair in pairs)
    doubt = None
    if unborne:
        doubt = tag(
            "span", f"not so in the paper's own numbers: {unborne} of {len(pairs)}", class_="doubt"
        )
    head = [tag("q", says), " ", chips, doubt]
    shown = [_pair(pair) for pair in pairs if _spoken(pair) != "not run" or not pair.paper_agrees]
    if not shown:
        return tag("li", head)
    names = ("better", "worse", "among", "paper", "our gain, 95 %", "deviation", "verdict")
    titles = tag("tr", [tag("th", name, scope="col") for name in names])
    grid = tag("table", tag("thead", titles), tag("tbody", shown), class_="plain")
    return tag(
        "li", tag("details", tag("summary", head), tag("div", grid, class_="scroll", tabindex="0"))
    )


def _chip(verdict: str, said: str) -> Html:
    return tag("span", said, class_=f"chip o-{words.slug(verdict.partition(',')[0])}")


def _spoken(pair: Ordering) -> str:
    verdict = pair.verdict
    return f"{verdict}, reduced" if pair.reduced and verdict != "not run" else verdict


def _pair(pair: Ordering) -> Html:
    mine, other = pair.better.cell, pair.worse.cell
    parts = list(zip((*mine.row, *mine.column), (*other.row, *other.column), strict=True))
    among = ", ".join(ours for ours, theirs in parts if ours == theirs)
    gain = pair.gain
    said = "" if gain is None else with_half_width(gain, mine.decimals)
    verdict, over = _spoken(pair), f" ({pair.num_seeds})" if pair.num_seeds else ""
    return tag(
        "tr",
        tag("td", next((ours for ours, theirs in parts if ours != theirs), "")),
        tag("td", next((theirs for ours, theirs in parts if ours != theirs), "")),
        tag("td", among, class_="soft"),
        tag(
            "td",
            words.minus(f"{mine.printed} / {other.printed}"),
            None if pair.paper_agrees else tag("b", " not so", class_="doubt"),
        ),
        tag("td", words.minus(said), tag("span", over, class_="soft")),
        tag("td", deviation(gain, mine.decimals), class_="soft"),
        tag("td", _chip(verdict, verdict)),
    )
