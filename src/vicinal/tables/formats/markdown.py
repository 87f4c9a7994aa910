"""A table in Markdown, the best numbers in bold."""

from vicinal.tables.formats.layout import Entry, Layout
from vicinal.tables.markdown import grid


def markdown(table: Layout) -> str:
    """The table and its notes."""
    heads = [*table.stub, *(", ".join(filter(None, label)) for label in table.columns)]
    rows = [[*map(_escaped, label), *map(_entry, entries)] for label, entries in table.rows]
    notes = [f"- {_raised(letter)}{_escaped(said)}\n" for letter, said in table.notes]
    body = grid([_escaped(head) for head in heads], rows)
    return f"{_escaped(table.caption)} ({table.name})\n\n{body}" + (
        "\n" + "".join(notes) if notes else ""
    )


def _entry(entry: Entry) -> str:
    text = f"**{entry.text}**" if entry.best else entry.text
    return text + _raised(",".join(entry.marks)).rstrip()


def _raised(letters: str) -> str:
    return f"<sup>{letters}</sup> " if letters else ""


def _escaped(text: str) -> str:
    for symbol in "\\|*_<":
        text = text.replace(symbol, f"\\{symbol}")
    return text
