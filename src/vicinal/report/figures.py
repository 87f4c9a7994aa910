"""Figures that other scripts drew into results/figures, each with the numbers in it."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vicinal.report import words
from vicinal.report.html import Html, tag

MOST = 20  # items of a list


@dataclass(frozen=True)
class Figure:
    """One drawing, PAPER/NAME.svg, and what lies beside it in PAPER/NAME.json."""

    paper: str
    name: str
    svg: str
    measures: Any = None

    @property
    def place(self) -> str:
        """Its id in the page."""
        return f"figure-{words.slug(self.paper)}-{words.slug(self.name)}"


def load(folder: Path) -> list[Figure]:
    """Every figure under results/figures, in the order of their paths."""
    found = []
    for path in sorted(folder.rglob("*.svg")):
        beside = path.with_suffix(".json")
        measures = json.loads(beside.read_text()) if beside.exists() else None
        paper, _, name = path.relative_to(folder).with_suffix("").as_posix().partition("/")
        found.append(Figure(paper, name or paper, path.read_text(), measures))
    return found


def figures(drawn: Sequence[Figure]) -> list[Html]:
    """As images, so that nothing in a drawing reaches the page."""
    return [_figure(figure) for figure in drawn]


def _figure(figure: Figure) -> Html:
    name, found = words.titled(figure.name), dict(_flat(figure.measures))
    title, described = _said(figure.svg, "title"), _said(figure.svg, "desc")
    alt = f"{words.short(figure.paper)}, {name}, redrawn. {described or title}"
    image = tag("img", src=f"data:image/svg+xml,{quote(figure.svg, safe=' =:/;,()')}", alt=alt)
    caption = tag("span", title.partition(": ")[2] or title or "redrawn")
    reduced = found.pop("reduced", None)
    rows = [
        tag("tr", tag("th", key, scope="row"), tag("td", value)) for key, value in found.items()
    ]
    scrolled = tag(
        "div", tag("table", tag("tbody", rows), class_="plain"), class_="scroll", tabindex="0"
    )
    return tag(
        "section",
        tag("h3", tag("a", name, href=f"#{figure.place}"), caption),
        tag("p", words.sign("reduced"), f" Reduced: {reduced}", class_="meta") if reduced else None,
        tag("figure", image),
        tag("details", tag("summary", "Numbers and origin"), scrolled) if rows else None,
        id=figure.place,
        class_="table",
        aria_label=f"{words.short(figure.paper)}, {name}",
    )


def _said(svg: str, element: str) -> str:
    """What a drawing says of itself."""
    found = re.search(rf"<{element}>(.*?)</{element}>", svg, re.DOTALL)
    return unescape(found[1]).strip() if found else ""


def _flat(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Numbers and words by their dotted names; a mean with its deviation is one of them."""
    if isinstance(node, dict) and {"mean", "std"} <= node.keys():
        each = f" ({_short(node['values'])})" if "values" in node else ""
        yield key, f"{_short(node['mean'])} ± {_short(node['std'])}{each}"
    elif isinstance(node, dict):
        for name, value in node.items():
            yield from _flat(value, f"{key}.{name}" if key else str(name))
    elif node is not None:
        yield key, _short(node)


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_short, value)) if len(value) <= MOST else f"{len(value)} values"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
