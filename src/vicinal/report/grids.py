"""A table as its paper lays it out: each number, ours beneath it, and the verdict's sign."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from vicinal.report import words
from vicinal.report.html import Html, tag
from vicinal.tables.markdown import our_number
from vicinal.tables.outcome import Outcome
from vicinal.tables.results import TableResults

Label = tuple[str, ...]

LONG = 32  # letters of a label that may be broken


def grid(joined: TableResults) -> Html:
    """The table, in a container that scrolls where the page is too narrow."""
    table, width = joined.table, max(map(len, joined.table.rows))
    by_place = {outcome.cell.place: outcome for outcome in joined.outcomes}
    marks = footnotes(joined)
    bodies = []
    for _, group in groupby(enumerate(table.rows), key=lambda each: each[1][0] if width > 1 else 0):
        indexed = list(group)
        stubs = row_stubs([label for _, label in indexed], width)
        lines = [
            [*stub, *(_cell(by_place.get((i, j)), marks) for j in range(len(table.columns)))]
            for stub, (i, _) in zip(stubs, indexed, strict=True)
        ]
        bodies.append(tag("tbody", [tag("tr", line) for line in lines]))
    name = f"{words.short(table.paper)}, {words.titled(table.name)}: {table.caption}"
    caption = tag("caption", f"{name}. Each cell: the paper's number, ours below.", class_="vh")
    heads = column_heads(table.stub, table.columns, width)
    head = tag("thead", [tag("tr", line) for line in heads])
    letters = max(len(label[0]) for label in (*table.rows, table.stub))
    narrow = f"--stub:{min(max(letters, 4), 14) * 0.5 + 0.8:.1f}rem"  # of the first column, at most
    inner = tag("table", caption, head, bodies, class_=f"paper stubs-{min(width, 3)}", style=narrow)
    return tag("div", inner, class_="scroll")


def footnotes(joined: TableResults) -> dict[str, str]:
    """What is odd about a number, each with its letter, in the order of the cells."""
    found = dict.fromkeys(o.cell.note for o in joined.outcomes if o.cell.note)
    return {note: _letter(i) for i, note in enumerate(found)}


def notes(joined: TableResults) -> Html | None:
    """The remarks on the table, and its footnotes."""
    items = [tag("li", note) for note in joined.table.notes]
    items += [
        tag("li", tag("b", mark, class_="mark"), f" {note}")
        for note, mark in footnotes(joined).items()
    ]
    quoted = dict.fromkeys(o.cell.quoted for o in joined.outcomes if o.cell.quoted)
    if quoted:
        whom = "; ".join(quoted)
        items.append(tag("li", tag("b", "†", class_="mark"), f" quoted by the paper from {whom}"))
    return tag("ul", items, class_="notes") if items else None


def column_heads(stub: Label, columns: Sequence[Label], width: int) -> list[list[Html]]:
    """Lines of headings: equal neighbours share one, and a short label reaches down."""
    depth = max(map(len, columns))
    stubs = (*stub, *[""] * width)[:width]
    first = [
        tag(
            "th" if name else "td",
            name,
            scope="col" if name else None,
            rowspan=_many(depth),
            class_=_stub(name, i),
        )
        for i, name in enumerate(stubs)
    ]
    lines = [first, *([] for _ in range(depth - 1))]
    for level, across, down, name in _headings(columns, depth):
        scope = "colgroup" if len(across) > 1 else "col"
        spans = {"colspan": _many(len(across)), "rowspan": _many(down)}
        lines[level].append(tag("th", name, scope=scope, **spans))
    return lines


def row_stubs(rows: Sequence[Label], width: int) -> list[list[Html]]:
    """Each row's labels: equal neighbours share one that spans their rows."""
    found: list[list[Html]] = [[] for _ in rows]
    for level, down, across, name in _headings(rows, width):
        scope = "rowgroup" if len(down) > 1 else "row"
        cell = tag(
            "th" if name else "td",
            name,
            scope=scope if name else None,
            rowspan=_many(len(down)),
            colspan=_many(across),
            class_=_stub(name, level),
        )
        found[down[0]].append(cell)
    return found


def _headings(labels: Sequence[Label], depth: int) -> Iterator[tuple[int, list[int], int, str]]:
    """Level by level, neighbours that share a part, how many levels it takes, and the part."""
    for level in range(depth):
        for _, group in groupby(range(len(labels)), key=lambda i: _upto(labels[i], level, i)):
            shared = list(group)
            label = labels[shared[0]]
            if level < len(label):
                yield level, shared, depth - level if level == len(label) - 1 else 1, label[level]


def _upto(label: Label, level: int, index: int) -> tuple[object, ...]:
    """What neighbours must share to share a heading; a label's last part is its own."""
    return label[: level + 1] if level < len(label) - 1 else (*label, index)


def _stub(label: str, level: int) -> str:
    return f"stub s{level + 1}" + (" long" if len(label) > LONG else "")


def _many(span: int) -> int | None:
    return span if span > 1 else None


def _cell(outcome: Outcome | None, marks: dict[str, str]) -> Html:
    if outcome is None:
        return tag("td", class_="none")
    cell, verdict = outcome.cell, outcome.verdict
    quoted = tag("span", "†", words.hidden(" quoted"), class_="quoted") if cell.quoted else None
    mark = tag("sup", marks[cell.note]) if cell.note else None
    # The sign comes with the verdict's word, for whoever does not see it.
    signed = [words.sign(verdict), words.hidden(f" {verdict}")]
    printed = tag("span", words.printed(cell), quoted, mark, class_="p")
    mine = our_number(outcome)
    below = tag("span", words.hidden(" ours "), words.minus(mine), class_="o") if mine else None
    button = tag("button", printed, below, signed, type="button", id=words.cell_id(outcome))
    return tag("td", button, class_=f"k-{words.slug(verdict)}")


def _letter(index: int) -> str:
    rest, last = divmod(index, 26)
    return (_letter(rest - 1) if rest else "") + chr(ord("a") + last)


def summary_bar(kinds: Iterable[str], label: str | None = None) -> Html:
    """How many numbers have each verdict, as one stacked bar."""
    found = list(kinds)
    parts, done = [], 0
    for kind in words.VERDICTS:
        if count := found.count(kind):
            x, width = (f"{100 * n / len(found):.2f}%" for n in (done, count))
            look = f"b-{words.slug(kind)}"
            parts.append(tag("rect", x=x, width=width, height="100%", class_=look))
            done += count
    said = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    return tag("svg", parts, class_="bar", **said)
