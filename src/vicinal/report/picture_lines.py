"""The README's picture of few numbers: a line for each, a panel per table and measure."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vicinal.report import words
from vicinal.report.dots import Mark, unshared
from vicinal.report.grids import letter
from vicinal.report.scales import Scale
from vicinal.tables import names
from vicinal.tables.outcome import Outcome

TOP, BOTTOM = 88, 38  # of the whole picture
HEAD, LINE, TAIL = 34, 24, 44  # of a panel
NOTE = 18  # a line of a note
LETTERS = 78  # of a note in a line
MOST = 6  # notes
HEADING, LABEL = 11, 7  # letters of those that share a line
WIDE, NARROW = 60, 17  # letters of a heading in a line of its own, and of a label under it


@dataclass(frozen=True)
class Line:
    """A number; its heading stands once for neighbours that share it."""

    top: int  # where its heading is
    y: int
    heading: str
    label: str
    outcome: Outcome
    note: str  # its letter
    theirs: Mark
    ours: Mark  # with the 95 % interval of the difference

    @property
    def printed(self) -> str:
        """The paper's number, without the deviation that is drawn."""
        return words.printed(self.outcome.cell).partition(" ±")[0]

    @property
    def mean(self) -> str:
        """Our number with the paper's digits, and at least one decimal."""
        return words.minus(f"{self.outcome.mean:.{max(self.outcome.cell.decimals, 1)}f}")


def lines(shown: Sequence[Outcome]) -> dict[str, Any]:
    """Panels from top to bottom, then the notes of their numbers."""
    panels, y = [], TOP
    letters = _letters(shown)
    for (table, measure), found in _panels(shown).items():
        panels.append(_panel(y, f"{table}: {measure}", found, letters))
        y = panels[-1]["end"] + TAIL
    notes = [
        (mark if first else "", line)
        for note, mark in letters.items()
        for first, line in _wrapped(note)
    ]
    placed = [(y + NOTE * i, *each) for i, each in enumerate(notes)]
    end = y + NOTE * len(notes)
    return {"panels": panels, "notes": placed, "end": end, "height": end + BOTTOM}


def _panels(shown: Sequence[Outcome]) -> dict[tuple[str, str], list[Outcome]]:
    found = dict[tuple[str, str], list[Outcome]]()
    for outcome in shown:
        cell = outcome.cell
        measure = ", ".join(filter(None, (names.measure(cell.measures), cell.unit)))
        found.setdefault((names.cited(cell)[0], measure), []).append(outcome)
    return found


def _letters(shown: Sequence[Outcome]) -> dict[str, str]:
    """The notes that there is room for; the report has all."""
    notes = [note for note in dict.fromkeys(o.cell.note for o in shown) if note]
    return {note: letter(i) for i, note in enumerate(notes[:MOST])}


def _wrapped(note: str) -> list[tuple[bool, str]]:
    return [(i == 0, line) for i, line in enumerate(textwrap.wrap(note, LETTERS))]


def _panel(y: int, title: str, found: list[Outcome], letters: dict[str, str]) -> dict[str, Any]:
    scale = Scale.over(number for outcome in found for number in _reach(outcome))
    labels = _labels(found)
    inline = all(len(one) <= HEADING and len(two) <= LABEL for one, two in labels)
    placed, at, before = list[Line](), y + HEAD, ""
    for outcome, (heading, label) in zip(found, labels, strict=True):
        top, new = at, heading != before
        at += LINE if new and not inline else 0
        placed.append(
            Line(
                top,
                at,
                _cut(heading, WIDE) if new else "",
                _cut(label, LABEL if inline else NARROW),
                outcome,
                letters.get(outcome.cell.note or "", ""),
                *_marks(scale, outcome),
            )
        )
        at, before = at + LINE, heading
    return {"title": title, "y": y, "end": at, "scale": scale, "lines": placed, "inline": inline}


def _labels(found: Sequence[Outcome]) -> list[tuple[str, str]]:
    """Row and column of each, without what all of them share."""
    cells = [outcome.cell for outcome in found]
    rows, columns = unshared([c.row for c in cells]), unshared([c.column for c in cells])
    return [
        (row or cell.row[-1], column or cell.column[-1])
        for cell, row, column in zip(cells, rows, columns, strict=True)
    ]


def _marks(scale: Scale, outcome: Outcome) -> tuple[Mark, Mark]:
    """The paper's and ours."""
    cell, interval = outcome.cell, outcome.difference
    assert outcome.mean is not None
    half = interval.half_width if interval else None
    return Mark.on(scale, cell.value, cell.spread), Mark.on(scale, outcome.mean, half)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _reach(outcome: Outcome) -> list[float]:
    """What the scale must hold."""
    cell, mean = outcome.cell, outcome.mean or 0.0
    spread, half = cell.spread or 0.0, outcome.difference.half_width if outcome.difference else 0.0
    return [cell.value - spread, cell.value + spread, mean - half, mean + half]
