"""One table's section: the grid, its footnotes, plots and curves."""

from collections import Counter
from collections.abc import Iterable, Sequence

from vicinal.report import claims, curves, dots, grids, words
from vicinal.report.html import Html, tag
from vicinal.tables.cell import Cell
from vicinal.tables.markdown import machines
from vicinal.tables.outcome import Outcome
from vicinal.tables.results import TableResults

FOLD = 24  # lines of a plot that is folded away
MOST = 8  # curves in one chart


def section(joined: TableResults) -> Html:
    """One table."""
    table = joined.table
    name = words.slug(table.name)
    kinds = {outcome.verdict for outcome in joined.outcomes}
    run = any(outcome.mean is not None or outcome.failed for outcome in joined.outcomes)
    trains = any(outcome.cell.trainable for outcome in joined.outcomes)
    return tag(
        "section",
        tag("h3", tag("a", words.titled(table.name), href=f"#{name}"), tag("span", table.caption)),
        tag("p", _protocol(joined), class_="meta"),
        _waiting(joined),
        tag("a", "Skip this table", href=f"#{name}-end", class_="skip"),
        grids.grid(joined),
        grids.notes(joined),
        _machines(joined),
        tag("div", id=f"{name}-end", tabindex="-1"),
        claims.claims(joined),
        _dots(joined),
        _curves(joined),
        _command(table.name) if trains else None,
        id=name,
        aria_label=f"{words.short(table.paper)}, {words.titled(table.name)}",
        class_="table" if run else "table empty" if len(kinds) > 1 else "table empty uniform",
    )


def _machines(joined: TableResults) -> Html | None:
    """On what the paper's numbers and ours were made."""
    found = machines(joined)
    if not found:
        return None
    among = {text: f" ({words.many(len(cells), 'number')})" for text, cells in found.items()}
    lines = [f"{text}{among[text] if len(found) > 1 else ''}" for text in found]
    return tag("p", "Made: ", ". ".join(lines), ".", class_="meta")


def command(line: str) -> Html:
    """A line to type, with a button that copies it."""
    copy = tag("button", "Copy", words.hidden(f" {line}"), type="button", class_="copy")
    return tag("div", tag("code", line), copy, class_="command")


def _command(name: str) -> Html:
    return tag("div", command(f"python train.py -m table={name}"), class_="run")


def _protocol(joined: TableResults) -> str:
    cells = [outcome.cell for outcome in joined.outcomes]
    read = [words.reading(cell) for cell in cells]
    runs = [words.many(c.paper_runs, "run") for c in cells]
    measured = [
        f"{words.listed(dict.fromkeys(words.measure(c.measures) for c in group))}, {unit}"
        for unit, group in _grouped(cells)
    ]
    better = [words.BETTER[c.better] for c in cells]
    parts = [
        _either(measured),
        _either(better),
        _either(read),
        f"seeds {_either(words.seeds(c.seeds) for c in cells)}",
        f"the paper's: {_either(runs)}",
    ]
    return " · ".join(parts)


def _grouped(cells: Iterable[Cell]) -> list[tuple[str, list[Cell]]]:
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.unit, []).append(cell)
    return list(groups.items())


def _either(found: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(found))


def _waiting(joined: TableResults) -> Html | None:
    count = Counter(o.cell.waits for o in joined.outcomes if o.cell.waits)
    if not count:
        return None
    number = count.total()
    who = (
        "All numbers wait"
        if number == len(joined.outcomes)
        else words.many(number, "number waits", "numbers wait")
    )
    reasons = [
        f"{n} for {why}" if len(count) > 1 else f"for {why}" for why, n in sorted(count.items())
    ]
    said = f" {who} {words.listed(reasons)}."
    return tag("p", words.sign("waits"), said, class_="meta")


def _dots(joined: TableResults) -> Html | None:
    run = [outcome for outcome in joined.outcomes if outcome.mean is not None]
    if not run:
        return None
    key = tag(
        "p",
        tag("span", tag("i", class_="theirs"), "paper ± its printed spread"),
        tag("span", tag("i", class_="mine"), "ours ± sample deviation"),
        class_="key",
    )
    return tag(
        "details",
        tag("summary", "Paper against ours"),
        key,
        dots.dots(joined.outcomes, f"{words.slug(joined.table.name)}-plot"),
        open=len(run) <= FOLD,
    )


def _curves(joined: TableResults) -> Html | None:
    charts = charted([(o, _line_name(joined, o)) for o in joined.outcomes])
    if not charts:
        return None
    reduced = any(o.reduced and o.values for o in joined.outcomes)
    said = "Test error by epoch" + (", reduced runs included" if reduced else "")
    note = tag(
        "p",
        "Mean over seeds; the band reaches from the lowest seed to the highest. "
        "The number is the last epoch's.",
        class_="meta",
    )
    chart_grid = tag("div", charts, class_="charts")
    folded = len(charts) > 6
    return tag("details", tag("summary", said), note, chart_grid, open=not folded)


def charted(named: Sequence[tuple[Outcome, str]]) -> list[Html]:
    """Curves of distinct runs: charts by dataset and network, of so many curves at most."""
    found: dict[tuple[str, ...], dict[str, curves.Line]] = {}
    for outcome, name in named:
        whole = [r for r in outcome.records if "failed" not in r and "test_top1" in r["curves"]]
        if whole:
            kind = tuple(whole[0]["name"].split("/")[:2])
            found.setdefault(kind, {}).setdefault(whole[0]["name"], curves.Line(name, whole))
    charts = []
    for kind, lines in found.items():
        every = list(lines.values())
        for i in range(0, len(every), MOST):
            charts.append(curves.chart(", ".join(kind), every[i : i + MOST]))
    return charts


def _line_name(joined: TableResults, outcome: Outcome) -> str:
    """The row and column, less what all cells of this dataset and network share."""
    kind = _kind(outcome)
    among = [o.cell for o in joined.outcomes if _kind(o) == kind]
    labels = [(*cell.row, *cell.column) for cell in among]
    shared = set.intersection(*map(set, labels)) if labels else set()
    # Of cells with one run, such as its error and its loss, only the first names it.
    firsts: dict[str, tuple[str, ...]] = {}
    for o in joined.outcomes:
        if _kind(o) == kind and o.records:
            firsts.setdefault(o.records[0]["name"], (*o.cell.row, *o.cell.column))
    if firsts:
        shared |= set.intersection(*map(set, firsts.values()))
    own = (*outcome.cell.row, *outcome.cell.column)
    name = ", ".join(part for part in own if part not in shared) or ", ".join(own)
    return f"{name} (reduced)" if outcome.reduced else name


def _kind(outcome: Outcome) -> str:
    if not outcome.records:
        return ""
    return "/".join(outcome.records[0]["name"].split("/")[:2])
