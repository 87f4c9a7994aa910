"""Templates: their text is escaped, their layout is dropped, and a name they lack is an error."""

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vicinal.report import words
from vicinal.tables import markdown, names
from vicinal.tables.papers import paper

HERE = Path(__file__).parent
FILTERS = {
    "paper": paper,
    "slug": words.slug,
    "minus": words.minus,
    "many": words.many,
    "few": words.few,
    "listed": words.listed,
    "counted": words.counted,
    "shares": words.shares,
    "percent": "{:.2f}%".format,
    "cell_id": words.cell_id,
    "cited": names.cited,
    "printed": words.printed,
    "ours": markdown.our_number,
    "difference": markdown.difference,
}


def render(template: str, **given: object) -> str:
    """One template; line breaks between elements are not part of the page."""
    markup = _templates().get_template(template).render(given)
    return re.sub(r">\s*\n\s*<", "><", markup)


@cache
def _templates() -> Environment:
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= FILTERS
    found.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "separators": (",", ":"),
        "sort_keys": True,
    }
    return found
