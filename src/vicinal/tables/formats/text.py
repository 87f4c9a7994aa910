"""A table for the terminal: columns of one width each."""

from collections.abc import Sequence

from vicinal.tables.formats.layout import Entry, Layout


def text(table: Layout) -> str:
    """The table and its notes."""
    heads = [
        [*(table.stub if level == len(table.columns[0]) - 1 else [""] * len(table.stub)), *parts]
        for level, parts in enumerate(zip(*table.columns, strict=True))
    ]
    rows = [[*label, *map(_entry, entries)] for label, entries in table.rows]
    widths = [max(map(len, column)) for column in zip(*heads, *rows, strict=True)]
    rule = "  ".join("-" * width for width in widths)
    lines = [_line(row, widths) for row in heads] + [rule] + [_line(row, widths) for row in rows]
    notes = [f"{f'[{letter}] ' if letter else ''}{said}" for letter, said in table.notes]
    return "\n".join([f"{table.name}: {table.caption}", "", *lines, "", *notes]).rstrip() + "\n"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True)).rstrip()


def _entry(entry: Entry) -> str:
    return entry.text + (f" [{','.join(entry.marks)}]" if entry.marks else "")
