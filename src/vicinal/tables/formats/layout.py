"""A table as it is laid out on paper: labels, one entry per cell, and notes under it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from string import ascii_lowercase

from vicinal.tables.formats.best import best, digits
from vicinal.tables.formats.papers import papers_cells, source
from vicinal.tables.markdown import with_half_width
from vicinal.tables.outcome import Ordering, Outcome
from vicinal.tables.results import TableResults

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """What stands at one place: a number, the letters of its notes, and whether it is in bold."""

    text: str = ""
    marks: Labels = ()
    best: bool = False


@dataclass(frozen=True)
class Layout:
    """A table of text. All row labels have as many parts as `stub`, all columns as many levels."""

    name: str
    caption: str
    stub: Labels
    columns: list[Labels]
    rows: list[tuple[Labels, list[Entry]]]
    notes: list[tuple[str, str]]  # a letter, or none, and what it says


@dataclass
class _Notes:
    """What is said under a table, each text once with a letter of its own."""

    marks: dict[str, str] = field(default_factory=dict)

    def mark(self, texts: Iterator[str]) -> Labels:
        for text in (found := list(texts)):
            count = len(self.marks)
            letter = ascii_lowercase[count % 26] * (count // 26 + 1)
            self.marks.setdefault(text, letter)
        return tuple(self.marks[text] for text in found)


def layout(results: TableResults, papers: bool = False) -> Layout:
    """Our numbers where the table has its cells, and the papers' beside them if asked for."""
    table, notes = results.table, _Notes()
    outcomes = {each.cell.place: each for each in results.outcomes}
    bold, counts = best(results.outcomes), _counts(results)
    rows = []
    for i, label in enumerate(table.rows):
        entries = []
        for j in range(len(table.columns)):
            outcome = outcomes.get((i, j))
            entry = Entry() if outcome is None else _ours(outcome, notes, len(counts) > 1)
            entries.append(replace(entry, best=(i, j) in bold))
            if papers:
                entries.append(Entry() if outcome is None else _papers(outcome, notes))
        rows.append((label, entries))
    width = max(len(table.stub), *(len(label) for label in table.rows))
    return Layout(
        table.name,
        table.caption,
        _padded(table.stub, width),
        _columns(table.columns, papers),
        [(_padded(label, width), entries) for label, entries in rows],
        [
            *((letter, text) for text, letter in notes.marks.items()),
            *(("", text) for text in (*_seeds(counts), *table.notes)),
            *(("", _ordering(each)) for each in results.orderings if each.verdict != "not run"),
        ],
    )


def _columns(labels: list[Labels], papers: bool) -> list[Labels]:
    depth = max(map(len, labels))
    kinds = (("ours",), ("paper",)) if papers else ((),)
    return [(*_padded(label, depth), *kind) for label in labels for kind in kinds]


def _padded(label: Labels, width: int) -> Labels:
    return (*label, *[""] * (width - len(label)))


def _counts(results: TableResults) -> set[int]:
    """The numbers of seeds behind the table's numbers."""
    return {len(each.values) for each in results.outcomes if each.values}


def _seeds(counts: set[int]) -> list[str]:
    if len(counts) > 1:
        return ["mean ± sample standard deviation (number of seeds)"]
    return [
        "one seed" if count == 1 else f"mean ± sample standard deviation of {count} seeds"
        for count in counts
    ]


def _ours(outcome: Outcome, notes: _Notes, with_count: bool) -> Entry:
    marks = notes.mark(_remarks(outcome))
    if outcome.mean is None:
        absent = {"unavailable": "n/a", "failed": "failed"}
        return Entry(absent.get(outcome.verdict, ""), marks)
    spread = "" if outcome.spread is None else f" ± {outcome.spread:.{digits(outcome)}f}"
    count = f" ({len(outcome.values)})" if with_count and outcome.values else ""
    return Entry(f"{outcome.mean:.{digits(outcome)}f}{spread}{count}", marks)


def _remarks(outcome: Outcome) -> Iterator[str]:
    cell = outcome.cell
    if cell.unavailable is not None:
        yield cell.unavailable
    if outcome.counted is not None:
        yield "counted without a run"
    if outcome.values and outcome.reduced:
        yield f"reduced: {', '.join(outcome.reduced)}"
    if outcome.failed:
        yield f"{len(outcome.failed)} of {len(cell.seeds)} seeds failed"
    elif outcome.values and not outcome.reduced and not outcome.complete:
        yield f"so far {len(outcome.values)} of {len(cell.seeds)} seeds"
    yield from outcome.warnings
    if outcome.devices:
        yield f"measured on {', '.join(outcome.devices)}"


def _papers(outcome: Outcome, notes: _Notes) -> Entry:
    """Each different number that papers print, with a note that says where, unless it is here."""
    cells = papers_cells(outcome.cell)
    printed = dict.fromkeys((each.printed or "").replace("±", " ± ") for each in cells)
    said = []
    for each in cells:
        if each is not outcome.cell:
            said.append(f"{(each.printed or '').replace('±', ' ± ')} in {source(each)}")
        elif each.quoted:
            said.append(f"quoted from {each.quoted}")
        if each.note:
            said.append(each.note)
    return Entry(" / ".join(printed), notes.mark(iter(dict.fromkeys(said))))


def _ordering(ordering: Ordering) -> str:
    """A claim about two cells, and what our runs say of it."""
    both = ordering.better.cell, ordering.worse.cell
    better, worse = (cell.label.replace(" | ", ", ") for cell in both)
    gain = "" if ordering.gain is None else f", gain {with_half_width(ordering.gain, 2)}"
    seeds = f", {ordering.num_seeds} shared seeds" if ordering.num_seeds else ""
    reduced = " (reduced)" if ordering.reduced else ""
    pair = f"{better}; against {worse}{gain}{seeds}"
    return f"{ordering.claim.says}: {ordering.verdict}{reduced} ({pair})"
