"""The report's first screen: coverage, verdicts, how to read the rest, and the differences."""

from collections import Counter
from collections.abc import Mapping, Sequence

from vicinal.report import dots, grids, words
from vicinal.report.html import Html, tag
from vicinal.tables.counts import by_chance
from vicinal.tables.markdown import difference, our_number
from vicinal.tables.outcome import Outcome
from vicinal.tables.results import TableResults

SHOWN = 10


def lead(every: Sequence[TableResults]) -> str:
    """What the page is, and what there is to see."""
    papers, outcomes = (
        len({j.table.paper for j in every}),
        [o for j in every for o in j.original_outcomes],
    )
    tables = sum(not joined.table.variant for joined in every)
    count = _counts(outcomes)
    print_ = "paper prints" if papers == 1 else "papers print"
    return (
        f"{words.few(papers)} {print_} {words.many(count['printed'], 'number')} on training with "
        f"mixed, worst-case and adversarial data, in {words.many(tables, 'table')}. Here is "
        "each of them, with what our runs measured beside it. "
        f"{count['runnable']:,} can be run here, {count['run']:,} have been at the paper's own "
        f"protocol, and {count['reproduced']:,} of these are reproduced."
    )


def overview(papers: Mapping[str, Sequence[TableResults]]) -> Html:
    """How much is covered, how it came out, and how to read the rest."""
    every = {
        p: [o for joined in tables for o in joined.original_outcomes]
        for p, tables in papers.items()
    }
    found = [outcome for outcomes in every.values() for outcome in outcomes]
    return tag(
        "section",
        tag("h2", "Overview"),
        _coverage(every),
        _legend(found),
        _reading(),
        _differences(found),
        id="overview",
        aria_label="Overview",
    )


def _counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return {
        "printed": len(outcomes),
        "runnable": sum(o.cell.trainable for o in outcomes),
        "run": sum(bool(o.values) and not o.reduced for o in outcomes),
        "reproduced": sum(
            o.verdict == "reproduced" and o.cell.group == "authors" for o in outcomes
        ),
    }


def _coverage(every: Mapping[str, Sequence[Outcome]]) -> Html:
    rows = [
        _covered(tag("a", words.short(paper), href=f"#{words.slug(paper)}"), outcomes)
        for paper, outcomes in every.items()
    ]
    whole = [outcome for outcomes in every.values() for outcome in outcomes]
    total = _covered("All", whole)
    names = list(_counts(whole))
    head = tag(
        "tr",
        tag("th", "Paper", scope="col"),
        tag("th", "Verdicts", scope="col"),
        [tag("th", name, scope="col", class_="n") for name in names],
    )
    said = (
        "Numbers in the papers' tables: printed; runnable here now; run at the paper's protocol; "
    )
    caption = tag("caption", f"{said}reproduced, of the authors' own.")
    return tag(
        "table",
        caption,
        tag("thead", head),
        tag("tbody", rows),
        tag("tfoot", total),
        class_="coverage",
    )


def _covered(name: object, outcomes: Sequence[Outcome]) -> Html:
    kinds = [outcome.verdict for outcome in outcomes]
    label = ", ".join(f"{kinds.count(kind)} {kind}" for kind in words.VERDICTS if kind in kinds)
    counts = _counts(outcomes).items()
    numbers = [tag("td", f"{count:,}", data_name=key, class_="n") for key, count in counts]
    bar = tag("td", grids.summary_bar(kinds, label), class_="wide")
    return tag("tr", tag("th", name, scope="row"), bar, numbers)


def _legend(outcomes: Sequence[Outcome]) -> list[Html | None]:
    """Every verdict with its count, and with what chance alone would make of it."""
    count = Counter(o.verdict for o in outcomes if o.cell.group != "quoted")
    expected, items = by_chance(count), list[Html]()
    for kind, said in words.VERDICTS.items():
        if not count[kind] and kind not in words.ALWAYS:
            continue
        swatch = tag("span", words.sign(kind), class_=f"swatch k-{words.slug(kind)}")
        chance = f" (by chance alone at most {expected[kind]:.1f})" if expected.get(kind) else ""
        number = tag("b", f"{count[kind]:,}")
        items.append(tag("div", tag("dt", swatch, kind), tag("dd", number, f"{chance} {said}")))
    quoted = words.counted(o.verdict for o in outcomes if o.cell.group == "quoted")
    apart = tag("p", f"Quoted from other papers, counted apart: {quoted}.", class_="meta")
    return [tag("dl", items, class_="legend"), apart if quoted else None]


def _differences(outcomes: Sequence[Outcome]) -> Html | None:
    drawn = dots.caterpillar(outcomes)
    if drawn is None:
        return None
    apart = [o for o in outcomes if o.verdict in ("better", "worse", "differs")]

    def far(outcome: Outcome) -> float:
        found = outcome.difference
        return -abs(found.difference) / max(found.half_width, 1e-12) if found else 0.0

    said = (
        "Ours minus the paper's in percentage points, with 95 % intervals: every number run at its "
        "paper's protocol, smallest difference first. What lies beyond the scale is at its edge."
    )
    return tag(
        "div",
        tag("h3", "How far ours are from the papers'"),
        tag("p", said, class_="meta"),
        drawn,
        _apart(sorted(apart, key=far)),
    )


def _apart(outcomes: Sequence[Outcome]) -> Html | None:
    if not outcomes:
        return None
    rows = [_differing(outcome) for outcome in outcomes]
    names = (("number", None), ("difference", "n"), ("paper", "n"), ("ours", "n"))
    head = tag("tr", [tag("th", name, scope="col", class_=c) for name, c in names])
    grid = tag("table", tag("thead", head), tag("tbody", rows), class_="plain")
    many = "number lies" if len(outcomes) == 1 else "numbers lie"
    return tag(
        "details",
        tag("summary", f"{len(outcomes)} {many} off the paper's, the farthest first"),
        tag("div", grid, class_="scroll", tabindex="0"),
        open=len(outcomes) <= SHOWN,
    )


def _differing(outcome: Outcome) -> Html:
    cell, kind = outcome.cell, outcome.verdict
    where, _, labels = words.cited(cell).partition(": ")
    said = [words.sign(outcome.verdict), " ", words.minus(difference(outcome))]
    swatch = tag("span", said, words.hidden(f" {kind}"), class_=f"swatch k-{words.slug(kind)}")
    link = tag("a", where, href=f"#{words.cell_id(outcome)}")
    return tag(
        "tr",
        tag("td", link, tag("span", f" {labels}", class_="soft")),
        tag("td", swatch, class_="n"),
        tag("td", words.printed(cell), class_="n"),
        tag("td", words.minus(our_number(outcome)), class_="n"),
    )


def _reading() -> Html:
    example = tag(
        "span",
        tag("span", "4.2", class_="p"),
        tag("span", "4.27 ± 0.09 (3)", class_="o"),
        words.sign("reproduced"),
        class_="example k-reproduced",
    )
    said = (
        " The upper number is the paper's, the lower one ours: the mean of our runs, their sample "
        "standard deviation, and how many they are. Colour and sign give the verdict. Choose a "
        "number to see its runs, seed by seed, the command that makes them, and where they were "
        "made; arrow keys move from number to number. † marks what a paper quotes from others."
    )
    hide = tag(
        "label",
        tag("input", type="checkbox", id="hide"),
        " Leave out tables of which nothing has been run",
        class_="hide",
    )
    return tag(
        "div",
        tag("h3", "How to read the tables"),
        tag("p", example, said),
        hide,
        tag(
            "noscript",
            tag(
                "p",
                "Without JavaScript the tables are whole, but the details of a number stay shut.",
            ),
        ),
    )
