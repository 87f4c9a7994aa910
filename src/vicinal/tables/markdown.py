"""Papers' tables in Markdown, theirs beside ours. The same records give the same bytes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vicinal.tables.cell import Cell
from vicinal.tables.outcome import Outcome
from vicinal.tables.results import TableResults
from vicinal.tables.verdicts import Interval, margin

HEAD = (
    *("column", "paper", "margin", "ours", "difference", "deviation"),
    *("different", "within", "verdict"),
)
COSTS = ("column", "paper", "paper's ratio", "ours", "our ratio", "device", "verdict")
ORDERINGS = (
    *("claim", "better", "worse", "in the paper's numbers", "our gain", "deviation"),
    *("seeds", "verdict"),
)


def page(results: TableResults) -> str:
    """The Markdown file of one table."""
    table = results.table
    width = max(len(outcome.cell.row) for outcome in results.outcomes)
    stub = [*table.stub, *[""] * width][:width]
    costs = [_cost(each, width) for each in results.outcomes if each.cell.over is not None]
    lines = [_line(each, width) for each in results.outcomes if each.cell.over is None]
    parts = [f"# {table.paper}, {table.name.partition('/')[2]}\n", f"{table.caption}.\n"]
    if lines:
        parts.append(grid([*stub, *HEAD], lines))
    if costs:
        parts.append(grid([*stub, *COSTS], costs))
    remarks = "".join(f"- {text}\n" for text in table.notes)
    parts += [text for text in (_orderings(results), remarks, _notes(results)) if text]
    if any(outcome.cell.trainable for outcome in results.outcomes):
        command = f"python train.py -m table={table.name}"
        parts.append(f"`{command}` runs what is missing. Verdicts: [summary](../summary.md).\n")
    return "\n".join(parts)


def grid(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def our_number(outcome: Outcome) -> str:
    """Mean ± deviation (n), and the number of failed seeds."""
    if outcome.mean is None:
        return f"{len(outcome.failed)} failed" if outcome.failed else ""
    digits = max(outcome.cell.decimals, 2)
    if outcome.counted is not None:
        return f"{outcome.mean:.{digits}f} (counted)"
    spread = "" if outcome.spread is None else f" ± {outcome.spread:.{digits}f}"
    failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
    return f"{outcome.mean:.{digits}f}{spread} ({len(outcome.values)}{failed})"


def difference(outcome: Outcome) -> str:
    """Ours minus the paper's, with its 95 % interval."""
    if outcome.mean is None or outcome.cell.printed is None:
        return ""
    interval = outcome.difference or Interval(outcome.mean - outcome.cell.value, 0.0)
    return with_half_width(interval, outcome.cell.decimals)


def with_half_width(interval: Interval, decimals: int) -> str:
    """A difference ± its half-width; a counted number has none."""
    digits = max(decimals, 2)
    half = f" ± {interval.half_width:.{digits}f}" if interval.half_width else ""
    return f"{interval.difference:+.{digits}f}{half}"


def deviation(interval: Interval | None, decimals: int) -> str:
    """The source of an interval's deviation, and the half-width that ours alone would give."""
    if interval is None:
        return ""
    if interval.ours_alone is None:
        return interval.source
    return f"{interval.source}; ours alone: ± {interval.ours_alone:.{max(decimals, 2)}f}"


def machines(results: TableResults) -> dict[str, list[Cell]]:
    """The devices and precisions behind the numbers, the paper's and ours, with their cells."""
    cells = dict[str, list[Cell]]()
    for outcome in (each for each in results.outcomes if not each.cell.exact):
        gpus, texts = outcome.cell.gpus, list[str]()
        if sessions := dict.fromkeys(each for r in outcome.records for each in _machines(r)):
            texts.append(f"ours: {' and '.join(sessions)}")
        if gpus > 1:
            texts.append(f"paper: {gpus} GPUs, each normalising its own share of a batch")
        if texts:
            cells.setdefault("; ".join(texts), []).append(outcome.cell)
    return cells


def _machines(record: Mapping[str, Any]) -> list[str]:
    """One per session. Old sessions, without precision or ranks, ran in fp32 on one CPU."""
    machines = []
    for session in record.get("sessions", ()):
        ranks = session.get("ranks", 1)
        precision = session.get("runtime", {}).get("precision", "fp32")
        device = session["device"]["type"].upper().replace("CUDA", "GPU")
        machines.append(f"{precision} on {ranks} {device}{'s' if ranks > 1 else ''}")
    return machines


def _line(outcome: Outcome, width: int) -> list[str]:
    cell = outcome.cell
    numbers = [_printed(cell), _margin(cell), our_number(outcome), difference(outcome)]
    source = deviation(outcome.difference, cell.decimals)
    answers = [outcome.different, outcome.within, _verdict(outcome)]
    return [*_labels(cell, width), *numbers, source, *answers]


def _cost(outcome: Outcome, width: int) -> list[str]:
    """A cost and its ratio to plain training."""
    ratios = ("" if each is None else f"{each:.2f}" for each in (outcome.cell.ratio, outcome.ratio))
    theirs, ours = ratios
    numbers = [_printed(outcome.cell), theirs, our_number(outcome), ours]
    devices = ", ".join(outcome.devices)
    return [*_labels(outcome.cell, width), *numbers, devices, _verdict(outcome)]


def _labels(cell: Cell, width: int) -> list[str]:
    return [*cell.row, *[""] * (width - len(cell.row)), ", ".join(cell.column)]


def _printed(cell: Cell) -> str:
    return (cell.printed or "").replace("±", " ± ") + (" †" if cell.quoted else "")


def _margin(cell: Cell) -> str:
    """The margin to three digits; empty if numbers are compared digit by digit."""
    unjudged = cell.exact or cell.unavailable or cell.printed is None
    return "" if unjudged else f"± {margin(cell):.3g}"


def _verdict(outcome: Outcome) -> str:
    """The verdict, and what it depends on."""
    verdict = outcome.verdict
    if verdict == "unavailable":
        return f"unavailable: {outcome.cell.unavailable}"
    if verdict == "reduced":
        return f"reduced: {', '.join(outcome.reduced)}"
    if verdict == "interim":
        seeds = f"{len(outcome.values)} of {len(outcome.cell.seeds)} seeds"
        return f"interim: {outcome.verdict_so_far} so far ({seeds})"
    return verdict


def _orderings(results: TableResults) -> str:
    rows = []
    for each in results.orderings:
        gain = each.gain
        rows.append(
            [
                each.claim.says,
                _label(each.better.cell),
                _label(each.worse.cell),
                {True: "yes", False: "no", None: ""}[each.paper_agrees],
                "" if gain is None else with_half_width(gain, 2),
                deviation(gain, 2),
                each.num_seeds or "",
                f"{each.verdict} (reduced)" if each.reduced else each.verdict,
            ]
        )
    return f"## Orderings\n\n{grid(ORDERINGS, rows)}" if rows else ""


def _notes(results: TableResults) -> str:
    notes = dict[str, list[Cell]]()
    for outcome in results.outcomes:
        cell, warned = outcome.cell, (f"ours: {text}" for text in outcome.warnings)
        quoted = f"† quoted from {cell.quoted}" if cell.quoted else None
        for text in (cell.note, quoted, *warned):
            if text:
                notes.setdefault(text, []).append(cell)
    notes |= machines(results)
    return "".join(f"- {text} ({_places(cells)})\n" for text, cells in notes.items())


def _places(cells: Sequence[Cell], most: int = 4) -> str:
    labels = [_label(cell) for cell in cells]
    return "; ".join(labels) if len(labels) <= most else f"{len(labels)} numbers"


def _label(cell: Cell) -> str:
    return cell.label.replace(" | ", ", ")
