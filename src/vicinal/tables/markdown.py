"""Tables of papers in Markdown: theirs beside ours. The same records give the same bytes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vicinal.tables.cell import Cell
from vicinal.tables.joined import Joined
from vicinal.tables.outcome import Outcome
from vicinal.tables.verdicts import Interval, margin

HEAD = (
    *("column", "paper", "margin", "ours", "difference", "deviation"),
    *("different", "within", "verdict"),
)


def page(joined: Joined) -> str:
    """One table's file."""
    table = joined.table
    parts = [f"# {table.paper}, {table.name.partition('/')[2]}\n", f"{table.caption}.\n"]
    head = [*table.stub, *HEAD]
    width = max(len(outcome.cell.row) for outcome in joined.outcomes)
    head = [*table.stub[:width], *[""] * (width - len(table.stub)), *head[len(table.stub) :]]
    parts.append(grid(head, [_line(outcome, width) for outcome in joined.outcomes]))
    remarks = "".join(f"- {text}\n" for text in table.notes)
    parts += [text for text in (_claims(joined), remarks, _notes(joined)) if text]
    command = f"python train.py -m table={table.name}"
    if any(outcome.cell.trains for outcome in joined.outcomes):
        parts.append(f"`{command}` runs what is missing. Verdicts: [summary](../summary.md).\n")
    return "\n".join(parts)


def grid(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def ours(outcome: Outcome) -> str:
    """Mean ± deviation (n), and the seeds that failed."""
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
    if outcome.mean is None:
        return ""
    found = outcome.difference or Interval(outcome.mean - outcome.cell.value, 0.0)
    return spanned(found, outcome.cell.decimals)


def spanned(found: Interval, decimals: int) -> str:
    """A difference and its half-width, which what was counted has not."""
    digits = max(decimals, 2)
    half = f" ± {found.half_width:.{digits}f}" if found.half_width else ""
    return f"{found.difference:+.{digits}f}{half}"


def deviation(found: Interval | None, decimals: int) -> str:
    """Whose deviation an interval rests on, and what ours alone would make of it."""
    if found is None:
        return ""
    alone = "" if found.alone is None else f"; ours alone: ± {found.alone:.{max(decimals, 2)}f}"
    return f"{found.by}{alone}"


def said(outcome: Outcome) -> str:
    """The verdict, and what it depends on."""
    verdict = outcome.verdict
    if verdict == "waits":
        return f"waits: {outcome.cell.waits}"
    if verdict == "reduced":
        return f"reduced: {', '.join(outcome.reduced)}"
    if verdict == "interim":
        seeds = f"{len(outcome.values)} of {len(outcome.cell.seeds)} seeds"
        return f"interim: {outcome.so_far} so far ({seeds})"
    return verdict


def machines(joined: Joined) -> dict[str, list[Cell]]:
    """On how many devices and in what precision numbers were made, the paper's and ours."""
    found = dict[str, list[Cell]]()
    for outcome in (each for each in joined.outcomes if not each.cell.exact):
        gpus = outcome.cell.gpus
        theirs = (
            f"paper: {gpus} GPUs, each normalising its own share of a batch" if gpus > 1 else ""
        )
        made = dict.fromkeys(how for record in outcome.records for how in _made(record))
        mine = f"ours: {' and '.join(made)}" if made else ""
        if text := "; ".join(part for part in (mine, theirs) if part):
            found.setdefault(text, []).append(outcome.cell)
    return found


def _made(record: Mapping[str, Any]) -> list[str]:
    """Of each session. Those that name neither precision nor ranks are one CPU's, in fp32."""
    made = []
    for session in record.get("sessions", ()):
        ranks = session.get("ranks", 1)
        precision = session.get("runtime", {}).get("precision", "fp32")
        device = session["device"]["type"].upper().replace("CUDA", "GPU")
        made.append(f"{precision} on {ranks} {device}{'s' if ranks > 1 else ''}")
    return made


def _line(outcome: Outcome, width: int) -> list[str]:
    cell = outcome.cell
    labels = [*cell.row, *[""] * (width - len(cell.row)), ", ".join(cell.column)]
    printed = cell.printed.replace("±", " ± ") + (" †" if cell.quoted else "")
    by = deviation(outcome.difference, cell.decimals)
    answers = [outcome.different, outcome.within]
    numbers = [printed, _margin(cell), ours(outcome), difference(outcome), by]
    return [*labels, *numbers, *answers, said(outcome)]


def _margin(cell: Cell) -> str:
    """To three digits; nothing where a number is compared digit by digit."""
    return "" if cell.exact or cell.waits else f"± {margin(cell):.3g}"


def _claims(joined: Joined) -> str:
    rows = []
    for each in joined.comparisons:
        gain = each.gain
        rows.append(
            [
                each.claim.says,
                each.better.cell.label.replace(" | ", ", "),
                each.worse.cell.label.replace(" | ", ", "),
                "yes" if each.printed else "no",
                "" if gain is None else spanned(gain, 2),
                deviation(gain, 2),
                each.seeds or "",
                f"{each.verdict} (reduced)" if each.reduced else each.verdict,
            ]
        )
    head = ["claim", "better", "worse", "in the paper's numbers", "our gain", "deviation"]
    head += ["seeds", "verdict"]
    return f"## Orderings\n\n{grid(head, rows)}" if rows else ""


def _notes(joined: Joined) -> str:
    lines = dict[str, list[Cell]]()
    for outcome in joined.outcomes:
        cell = outcome.cell
        for text in (cell.note, f"† quoted from {cell.quoted}" if cell.quoted else None):
            if text:
                lines.setdefault(text, []).append(cell)
    lines |= machines(joined)
    return "".join(f"- {text} ({_places(cells)})\n" for text, cells in lines.items())


def _places(cells: Sequence[Cell], most: int = 4) -> str:
    labels = [cell.label.replace(" | ", ", ") for cell in cells]
    return "; ".join(labels) if len(labels) <= most else f"{len(labels)} numbers"
