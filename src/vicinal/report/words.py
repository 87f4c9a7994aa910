"""How the report names numbers and verdicts."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from vicinal.tables.cell import Cell
from vicinal.tables.markdown import our_number
from vicinal.tables.names import REPORTS, seeds
from vicinal.tables.outcome import Outcome
from vicinal.tables.verdicts import Interval, margin

VERDICTS = {
    "reproduced": "the whole 95 % interval of the difference lies within the margin",
    "better": "the interval excludes 0 and reaches beyond the margin; our number is better",
    "worse": "the interval excludes 0 and reaches beyond the margin; our number is worse",
    "differs": "the interval excludes 0 and reaches beyond the margin; no direction is better",
    "inconclusive": "the interval is too wide, or a planned seed diverged",
    "agrees (one run)": "one run; the interval contains 0 and lies within the margin",
    "near (one run)": "one run; the interval contains 0 but reaches beyond the margin",
    "off (one run)": "one run; the interval excludes 0",
    "interim": "planned seeds are missing, so there is no verdict yet",
    "equal": "counted without a run; matches the printed digits",
    "unequal": "counted without a run; does not match the printed digits",
    "definition": "true by definition; no run could change it",
    "same ratio": "a cost, as a ratio to plain training: within a tenth of the paper's",
    "other ratio": "a cost, as a ratio to plain training: not within a tenth of the paper's",
    "reference": "the cost of plain training, which the others are divided by",
    "reduced": "only runs with a different budget or different data; shown but never counted",
    "failed": "every run diverged",
    "not run": "can be run, but has not been",
    "unavailable": "cannot be run, and the cell says why",
}
# In every legend:
ALWAYS = (
    "reproduced",
    "better",
    "worse",
    "inconclusive",
    "not run",
    "unavailable",
)
SPLITS = {
    "test": "",
    "valid": ", measured there",
    "kept": ", measured on training samples with kept labels",
    "redrawn": ", measured on training samples with redrawn labels",
}
BETTER = {
    "lower": "lower is better",
    "higher": "higher is better",
    "none": "no direction is better",
}


def slug(name: str) -> str:
    """A name as an id or a class."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def cell_id(outcome: Outcome) -> str:
    """The id of a cell's button."""
    row, column = outcome.cell.place
    return f"{slug(outcome.cell.table)}-{row + 1}-{column + 1}"


def many(count: int, one: str, more: str | None = None) -> str:
    """A count and its noun: 1 number, 2 numbers."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def few(count: int) -> str:
    """A small number as a word, to begin a sentence with."""
    letters = "No One Two Three Four Five Six Seven Eight Nine".split()
    return letters[count] if count < len(letters) else f"{count:,}"


def listed(words: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def counted(verdicts: Iterable[str]) -> str:
    """How many numbers have each verdict, in the order of the legend."""
    count = Counter(verdicts)
    return " · ".join(f"{word} {count[word]}" for word in VERDICTS if count[word])


@dataclass(frozen=True)
class Share:
    """One part of a stacked bar: where it starts and how wide it is, in percent."""

    verdict: str
    count: int
    start: float
    width: float

    @property
    def said(self) -> str:
        """The count in words."""
        return f"{self.count} {self.verdict}"


def shares(verdicts: Iterable[str]) -> list[Share]:
    """The parts of a bar that shows how many numbers have each verdict."""
    count = Counter(verdicts)
    found, done = list[Share](), 0
    for verdict in VERDICTS:
        if number := count[verdict]:
            start, width = (100 * n / count.total() for n in (done, number))
            found.append(Share(verdict, number, start, width))
            done += number
    return found


def minus(number: str) -> str:
    """A number with a typographic minus sign; zero has no sign."""
    return re.sub(r"[-+](0(?:\.0+)?)(?![\d.])", r"\1", number).replace("-", "\u2212")


def printed(cell: Cell) -> str:
    """The paper's number."""
    assert cell.printed is not None
    return minus(cell.printed.replace("±", " ± "))


def reported(cell: Cell) -> str:
    """Which epoch counts, and on which data if not the test set."""
    if cell.untrained:
        return "untrained network"
    return REPORTS[cell.report] + SPLITS[cell.split]


def spanned(found: Interval, decimals: int, unit: str) -> str:
    """A difference and its interval in words."""
    digits = max(decimals, 2)
    points = "points" if unit == "%" else unit
    low, high = found.difference - found.half_width, found.difference + found.half_width
    return minus(
        f"{found.difference:+.{digits}f} {points} (95 % interval {low:+.{digits}f} to "
        f"{high:+.{digits}f})"
    )


def verdict(outcome: Outcome) -> str:
    """The verdict in a sentence or two."""
    cell, word = outcome.cell, outcome.verdict
    plain = {
        "definition": "True by definition: no run could change it.",
        "unavailable": f"Unavailable: {cell.unavailable}",
        "not run": "Not run yet.",
        "failed": f"Failed: {many(len(outcome.failed), 'run')} diverged and none finished.",
        "equal": f"Equal: our count matches the printed digits ({our_number(outcome)}).",
        "unequal": f"Unequal: our count does not match the printed digits ({our_number(outcome)}).",
        "reduced": f"Reduced: run with {listed(outcome.reduced) if outcome.reduced else ''}. "
        f"Our number, {our_number(outcome)}, is shown but does not count.",
    }
    if word in plain:
        return plain[word]
    if outcome.ratio is not None:
        return _ratio(outcome)
    found, begun = outcome.difference, word[0].upper() + word[1:]
    if word == "interim":
        begun = f"Interim: {outcome.verdict_so_far} so far"
    lacking = _lacking(outcome)
    if found is None:
        return f"{begun}: with so few runs and no known deviation, there is no interval{lacking}."
    said = f"our number minus the paper's is {spanned(found, cell.decimals, cell.unit)}"
    return f"{begun}: {said}, {_answers(outcome)}{lacking}. Deviation used: {found.source}."


def _ratio(outcome: Outcome) -> str:
    """A cost, in the paper and here, as a ratio to plain training."""
    word = outcome.verdict.capitalize()
    here = f"{outcome.ratio:.2f} times plain training's here, on {listed(outcome.devices)}"
    return f"{word}: {outcome.cell.ratio:.2f} times plain training's in the paper, {here}."


def _answers(outcome: Outcome) -> str:
    """Whether the interval contains 0, and whether it lies within the margin."""
    contains = {"no": "which contains 0", "differs": "which excludes 0"}.get(
        outcome.different, f"which is {outcome.different}"
    )
    lies = "lies within" if outcome.within == "yes" else "is not within"
    return f"{contains} and {lies} the margin of \u00b1{margin(outcome.cell):.3g}"


def _lacking(outcome: Outcome) -> str:
    planned = outcome.cell.seeds
    missing = [s for s in planned if s not in outcome.values and s not in outcome.failed]
    lacking = [
        f"{'seed' if len(some) == 1 else 'seeds'} {seeds(some)} {what}"
        for some, what in ((outcome.failed, "failed"), (missing, "not run"))
        if some
    ]
    return f"; {listed(lacking)}" if lacking else ""
