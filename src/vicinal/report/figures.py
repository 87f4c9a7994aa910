"""Figures that other scripts drew into results/figures, each with the numbers in it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vicinal.report import words
from vicinal.tables import names

MOST = 20  # items of a list that is written out


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

    @property
    def title(self) -> str:
        """Such as Figure 5."""
        return names.titled(self.name)

    @property
    def source(self) -> str:
        """The drawing as the address of an image, so that nothing in it reaches the page."""
        return f"data:image/svg+xml,{quote(self.svg, safe=' =:/;,()')}"

    @property
    def caption(self) -> str:
        """Its own title, without the name before the colon."""
        return self._said("title").partition(": ")[2] or self._said("title") or "redrawn"

    @property
    def description(self) -> str:
        """Its own description, or else its title."""
        return self._said("desc") or self._said("title")

    @property
    def numbers(self) -> dict[str, str]:
        """Its numbers by their dotted names."""
        return dict(_flat(self.measures))

    def _said(self, element: str) -> str:
        found = re.search(rf"<{element}>(.*?)</{element}>", self.svg, re.DOTALL)
        return unescape(found[1]).strip() if found else ""


def load(folder: Path) -> list[Figure]:
    """Every figure under results/figures, in the order of their paths."""
    found = []
    for path in sorted(folder.rglob("*.svg")):
        beside = path.with_suffix(".json")
        measures = json.loads(beside.read_text()) if beside.exists() else None
        paper, _, name = path.relative_to(folder).with_suffix("").as_posix().partition("/")
        found.append(Figure(paper, name or paper, path.read_text(), measures))
    return found


def _flat(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Numbers and words by their dotted names; a mean and its deviation are one entry."""
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
