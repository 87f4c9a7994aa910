"""The README's picture: the paper's number beside ours, for all that ran at the papers' protocols.

Few numbers are drawn line by line; many as dots on a diagonal, paper by paper.
"""

import re
from collections.abc import Sequence
from functools import cache

from vicinal.report import words
from vicinal.report.picture_lines import lines
from vicinal.report.picture_scatter import scatter
from vicinal.report.render import HERE, render
from vicinal.tables import names
from vicinal.tables.outcome import Outcome
from vicinal.tables.papers import papers
from vicinal.tables.results import TableResults

NAME = "report/paper-against-ours-{theme}.svg"  # in the results' folder
THEMES = ("light", "dark")
MOST = 36  # numbers that are drawn line by line
INKS = {
    "reproduced": "good",
    "agrees (one run)": "good",
    "better": "better",
    "worse": "worse",
    "differs": "differs",
    "off (one run)": "differs",
}  # the report's variables; those of all other verdicts are the same


def pictures(results: Sequence[TableResults]) -> dict[str, str]:
    """Both pictures by their names in the results' folder."""
    return {NAME.format(theme=theme): picture(results, theme) for theme in THEMES}


def picture(results: Sequence[TableResults], theme: str) -> str:
    """An SVG file without a background, with colours that suit a light or a dark page."""
    every = [outcome for each in results for outcome in each.original_outcomes]
    found = [o for o in every if o.values and not o.reduced and o.cell.over is None]
    shown = sorted(found, key=_in_turn)
    few, inks = len(shown) <= MOST, colours(theme)
    named = {verdict: INKS.get(verdict, "unsure") for verdict in words.VERDICTS}
    return render(
        "picture_lines.svg.j2" if few else "picture_scatter.svg.j2",
        drawing=lines(shown) if few else scatter(shown),
        colours=inks,
        inks={verdict: inks[name] for verdict, name in named.items()},
        fills={verdict: inks[f"{name}-bar"] for verdict, name in named.items()},
        title=_title(shown),
        description="; ".join(map(_said, shown)) or "There is no run yet.",
        unrun=sum(o.cell.trainable and o.cell.over is None for o in every) - len(shown),
    )


def _in_turn(outcome: Outcome) -> int:
    """The paper's place in the report; tables keep their order."""
    known, paper = [*papers()], outcome.cell.table.partition("/")[0]
    return known.index(paper) if paper in known else len(known)


@cache
def colours(theme: str) -> dict[str, str]:
    """The report's variables."""
    parts = (HERE / "report.css").read_text().split("@media (prefers-color-scheme: dark)", 1)
    light, dark = (dict(re.findall(r"--([\w-]+): ([^;]+);", part.split("}")[0])) for part in parts)
    return light if theme == "light" else light | dark


def _title(shown: Sequence[Outcome]) -> str:
    numbers = words.many(len(shown), "number")
    return f"Paper against ours: {numbers} at the papers' protocols"


def _said(outcome: Outcome) -> str:
    """One number in words."""
    cell, found, digits = outcome.cell, outcome.difference, max(outcome.cell.decimals, 2)
    half = f" ± {found.half_width:.{digits}f}" if found else ""
    where, ours = ", ".join(names.cited(cell)), f"{outcome.mean:.{digits}f}{half}"
    return f"{where}: paper {words.printed(cell)}, ours {ours}, {outcome.verdict}"
