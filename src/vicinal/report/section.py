"""What the page shows of one table."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from vicinal.report import words
from vicinal.report.claims import claims
from vicinal.report.curves import charts
from vicinal.report.dots import plots
from vicinal.report.grids import grid
from vicinal.report.protocol import protocol
from vicinal.tables import names
from vicinal.tables.cell import Cell
from vicinal.tables.markdown import machines
from vicinal.tables.outcome import Outcome
from vicinal.tables.results import TableResults


def section(results: TableResults) -> dict[str, Any]:
    """One table: its grid, what stands under it, plots and curves."""
    table, outcomes = results.table, results.outcomes
    name = words.slug(table.name)
    return {
        "id": name,
        "table": table,
        "title": names.titled(table.name),
        "verdicts": [outcome.verdict for outcome in outcomes],
        "look": _look(outcomes),
        "empty": _empty(outcomes),
        "protocol": protocol([outcome.cell for outcome in outcomes]),
        "unavailable": _unavailable(results),
        "grid": grid(results),
        "machines": _machines(results),
        "claims": claims(results),
        "plots": plots(outcomes, f"{name}-plot"),
        "charts": charts((_name(results, outcome), outcome.records) for outcome in outcomes),
        "reduced": any(outcome.reduced and outcome.values for outcome in outcomes),
        "trains": any(outcome.cell.trainable for outcome in outcomes),
    }


def _look(outcomes: Sequence[Outcome]) -> str:
    """Its classes: tables without runs can be left out, and are drawn small."""
    if not _empty(outcomes):
        return "table"
    alike = len({outcome.verdict for outcome in outcomes}) == 1
    return "table empty uniform" if alike else "table empty"


def _empty(outcomes: Sequence[Outcome]) -> bool:
    """Whether there is no number of ours, nor a run that failed."""
    return not any(outcome.mean is not None or outcome.failed for outcome in outcomes)


def _unavailable(results: TableResults) -> str | None:
    """How many numbers no run can reproduce, and why."""
    count = Counter(o.cell.unavailable for o in results.outcomes if o.cell.unavailable)
    if not count:
        return None
    reasons = (f"{words.many(n, 'number')}: {why}" for why, n in sorted(count.items()))
    return f"Unavailable. {' '.join(reasons)}"


def _machines(results: TableResults) -> list[str]:
    """The devices and precision of our runs and of the paper's."""
    found = {text[0].upper() + text[1:]: cells for text, cells in machines(results).items()}
    if len(found) == 1:
        return [*found]
    return [f"{text} ({words.many(len(cells), 'number')})" for text, cells in found.items()]


def _name(results: TableResults, outcome: Outcome) -> str:
    """Row and column, without the parts that all cells of this dataset and network share."""
    among = [o for o in results.outcomes if _kind(o) == _kind(outcome)]
    # Of the cells of one run, such as its error and its loss, only the first names it.
    firsts = {o.records[0]["name"]: _label(o.cell) for o in reversed(among) if o.records}
    shared = _shared(_label(o.cell) for o in among) | _shared(firsts.values())
    own = _label(outcome.cell)
    name = ", ".join(part for part in own if part not in shared) or ", ".join(own)
    return f"{name} (reduced)" if outcome.reduced else name


def _label(cell: Cell) -> tuple[str, ...]:
    return tuple(part for part in (*cell.row, *cell.column) if part)


def _shared(labels: Iterable[Sequence[str]]) -> set[str]:
    every = [set(label) for label in labels]
    return set.intersection(*every) if every else set()


def _kind(outcome: Outcome) -> str:
    """The dataset and the network of its runs."""
    return "/".join(outcome.records[0]["name"].split("/")[:2]) if outcome.records else ""
