"""The text of a plan: what is left to run, for which numbers, for how long, and what is first."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import inf

from vicinal.tables.cell import Cell
from vicinal.tables.jobs import Job
from vicinal.tables.programme import Programme
from vicinal.tables.table import Table
from vicinal.tables.value import Place, Step

Row = tuple[str, ...]

FIRST = 20  # steps of the order of value that are shown of several tables
MILESTONES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)  # GPU-hours
ORDER = (
    "The order of value: numbers per GPU-hour, where the first seed of a number counts as one, "
    "and each other of its n seeds as 1/n."
)


def outline(programme: Programme, tables: Sequence[Table], list_runs: bool = False) -> str:
    """The totals, what each table needs and, of several tables, which runs to make first."""
    lines = [*_totals(programme, tables), *grid(_needs(programme, tables))]
    if len(tables) == 1 or list_runs:
        lines += _runs(programme)
    if len(tables) > 1:
        lines += _order(programme, None if list_runs else FIRST)
    if programme.budget is not None:
        lines.append(_cut(programme))
    return "\n".join(lines)


def _totals(programme: Programme, tables: Sequence[Table]) -> Iterator[str]:
    cells, jobs = programme.cells, programme.planned
    if len(tables) == 1:
        yield from (f"table {table.name}: {table.caption}" for table in tables)
    else:
        yield f"{len(tables)} tables"
    others = {
        "counted without a run": sum(cell.runnable and cell.exact for cell in cells),
        "by definition": sum(cell.definition for cell in cells),
    }
    rest = "".join(f", {number} {how}" for how, number in others.items() if number)
    yield f"{len(cells)} cells, {sum(cell.trainable for cell in cells)} can be run{rest}"
    unavailable = Counter(cell.unavailable for cell in cells if cell.unavailable is not None)
    yield from (f"  {count} cannot: {why}" for why, count in sorted(unavailable.items()))
    yield f"{len(jobs)} runs: {_states(jobs)}"
    if evaluations := sum(job.evaluations for job in jobs):
        missing = sum(job.unmeasured for job in jobs)
        yield f"{evaluations} evaluations of them: {missing} missing"
    if programme.left:
        yield _hours(programme)


def _hours(programme: Programme) -> str:
    """All that are left, and how much of it earlier runs and benches have shown."""
    lengths = {place: programme.lengths[place] for place in programme.left}
    measured = programme.hours(place for place, each in lengths.items() if each.measured)
    total = programme.hours(lengths)
    said = f"{total:.1f} GPU-hours left: {measured:.1f} by earlier runs of the same kind, "
    said += f"{total - measured:.1f} estimated"
    if runs := sum(not each.known for each in lengths.values()):
        said += f", and {runs} runs of unknown length"
    if evaluations := sum(each.unknown for each in lengths.values()):
        said += f"; {evaluations} evaluations of unknown length are left out"
    return said


def _needs(programme: Programme, tables: Sequence[Table]) -> Iterator[Row]:
    """What is left, by table; a run counts in every table, and once in each sum."""
    yield "left to do", "runs", "evaluations", "GPU-hours", "numbers", "of them quoted"
    for paper in dict.fromkeys(table.paper for table in tables):
        of_paper = dict.fromkeys(table.name for table in tables if table.paper == paper)
        if len(of_paper) > 1:
            yield paper, *_need(programme, of_paper)
        for name in of_paper:
            yield f"  {name}" if len(of_paper) > 1 else name, *_need(programme, [name])
    if len(tables) > 1:
        yield "all", *_need(programme, [table.name for table in tables])


def _need(programme: Programme, names: Collection[str]) -> Row:
    places, cells = set[Place](), list[Cell]()
    for number in programme.numbers:
        needed = set[Place]().union(*number.left(programme.left))
        if number.cell.table in names and needed:
            places |= needed
            cells.append(number.cell)
    jobs = [job for job in programme.planned if job.place in places]
    quoted = sum(cell.quoted is not None for cell in cells)
    unmeasured = sum(job.unmeasured for job in jobs)
    hours = f"{programme.hours(places):.1f}"
    return f"{len(places)}", f"{unmeasured}", hours, f"{len(cells)}", f"{quoted}"


def _runs(programme: Programme) -> Iterator[str]:
    """A line per run with its seeds' states and its length."""
    jobs: dict[str, list[Job]] = {}
    for job in programme.planned:
        jobs.setdefault(job.run.name, []).append(job)
    for name, seeds in sorted(jobs.items()):
        lengths = [programme.lengths[job.place] for job in seeds if job.state != "finished"]
        cost = next((each.cost for each in lengths if each.cost is not None), None)
        yield f"  {name}: {_states(seeds)}" + (f", {cost}" if cost else "")


def _order(programme: Programme, most: int | None) -> Iterator[str]:
    steps = programme.steps[:most]
    if not steps:
        return
    yield from grid(_milestones(programme))
    yield ORDER
    tables: dict[Place, dict[str, None]] = {}
    for number in programme.numbers:
        for place in set[Place]().union(*number.seeds.values()):
            tables.setdefault(place, {})[number.cell.table] = None
    yield from grid(_firsts(steps, tables))
    if rest := len(programme.steps) - len(steps):
        yield f"and {rest} more (+runs=true lists every run)"


def _milestones(programme: Programme) -> Iterator[Row]:
    """How many numbers there are after how many hours, in the order of value."""
    yield "GPU-hours in the order of value", "numbers with a run", "with every seed"
    ends, so_far = dict[Place, float](), 0.0
    for step in programme.steps:
        so_far += step.hours
        ends.update(dict.fromkeys(step.runs, so_far))
    seeds = [
        [max((ends.get(place, 0.0) for place in runs), default=0.0) for runs in each.seeds.values()]
        for each in programme.numbers
    ]
    marks = [hours for hours in MILESTONES if hours < so_far]
    for hours in (0.0, *marks, so_far):
        first, every = (sum(of(each) <= hours for each in seeds) for of in (min, max))
        yield f"{hours:.6g}" if hours < inf else "all", f"{first}", f"{every}"


def _firsts(steps: Iterable[Step], tables: Mapping[Place, Iterable[str]]) -> Iterator[Row]:
    yield "runs", "numbers", "GPU-hours", "so far", "for"
    so_far = 0.0
    for step in steps:
        so_far += step.hours
        names = dict.fromkeys(name for place in step.runs for name in tables[place])
        seeds: dict[str, list[str]] = {}
        for name, seed in step.runs:
            seeds.setdefault(name, []).append(str(seed))
        runs = " + ".join(f"{name} seed={','.join(each)}" for name, each in seeds.items())
        yield runs, f"{step.worth:.3g}", f"{step.hours:.3g}", f"{so_far:.4g}", ", ".join(names)


def _cut(programme: Programme) -> str:
    budget, kept = programme.budget, programme.kept
    assert budget is not None
    gpus = f"{budget.gpus} GPU{'s' if budget.gpus > 1 else ''}"
    out = programme.left - kept
    said = f"{len(kept)} runs fit into {budget.hours:g} hours on {gpus}"
    said += f" (they take {programme.duration:.1f})" if kept else ""
    return f"{said}; left out: {len(out)} runs of {programme.hours(out):.1f} GPU-hours"


def grid(rows: Iterable[Row]) -> Iterator[str]:
    """Columns of one width each; the first and the last are aligned left."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        numbers = [text.rjust(width) for text, width in zip(row, widths, strict=True)]
        yield "  ".join([row[0].ljust(widths[0]), *numbers[1:-1], row[-1]])


def _states(jobs: Iterable[Job]) -> str:
    counts = Counter(job.state for job in jobs)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"
