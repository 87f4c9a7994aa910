"""What each method's docstring says of its authors' code, as one table.

A method's `Code:` field begins with `OWNER/NAME (COMMIT or main)`, or says `none released`. It then
says `Compared HOW: DIFFERENCES.` or `Not compared.`
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import vicinal.methods
from vicinal.tables.markdown import grid

HEAD = ("method", "authors' code", "compared", "largest difference")
FIELD = re.compile(r"^Code:(?P<text>.*?)^(?=\w+:)", re.MULTILINE | re.DOTALL)
SOURCE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+) \((?:commit (?P<commit>[0-9a-f]{7,})|main)\)")
COMPARED = re.compile(r"\bCompared (?P<how>(?:`[^`]*`|[^:`])+): (?P<found>.+?)\.(?= |$)")


class Parity(NamedTuple):
    """How one method's step compares with its authors'."""

    code: str  # as Markdown
    how: str
    found: str


def table() -> str:
    """One line per method."""
    return grid(HEAD, ([f"`{name}`", *parity(name, text)] for name, text in code_fields()))


def parity(name: str, text: str) -> Parity:
    """The parts of a `Code:` field."""
    if text.startswith("none released"):
        return Parity("none released", "", "")
    source, compared = SOURCE.match(text), COMPARED.search(text)
    if not source:
        raise ValueError(
            f"Code: of {name} must begin with OWNER/NAME (commit HASH), OWNER/NAME (main) or "
            f"none released, got {text!r}"
        )
    if bool(compared) == ("Not compared." in text):
        raise ValueError(
            f"Code: of {name} must say either Compared HOW: DIFFERENCES. or Not compared., "
            f"got {text!r}"
        )
    repo, commit = source["repo"], source["commit"]
    link = f"https://github.com/{repo}" + (f"/tree/{commit}" if commit else "")
    code = f"[{repo}{f'@{commit}' if commit else ''}]({link})"
    if not compared:
        return Parity(code, "not compared", "")
    return Parity(code, compared["how"], compared["found"])


def code_fields() -> Iterator[tuple[str, str]]:
    """Each method's name and its `Code:` field on one line.

    The sources are parsed, not imported, because some methods need optional packages.
    """
    for folder in vicinal.methods.__path__:
        for path in sorted(Path(folder).glob("*.py")):
            doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            field = FIELD.search(doc)
            if field:
                yield path.stem, " ".join(field["text"].split())
