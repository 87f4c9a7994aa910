"""How planning grows with the runs of a plan, and `tables` with the number of records."""

import json
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from vicinal.cli.overrides import quote
from vicinal.commands.tables import joined, pages, write
from vicinal.storage import records
from vicinal.tables.plan import compose_cached
from vicinal.tables.request import SweepRequest
from vicinal.tables.sweep import Sweep
from vicinal.tables.table import Table

RESULTS = Path(__file__).parents[2] / "results"
RUN = ["dataset=digits", "model=wrn10_2", "method=mixup"]

Seconds = dict[int, float]


def by_runs(sizes: Sequence[int], rounds: int, overrides: Sequence[str]) -> Seconds:
    """Seconds to plan so many configurations, each with one seed, none of them known before."""
    unused = count(1)

    def plan(runs: int, folder: Path) -> None:
        rates = [f"optimizer.lr={next(unused)}e-6" for _ in range(runs)]
        _plan(rates, (0,), folder)

    return _timed(plan, sizes, rounds)


def by_seeds(sizes: Sequence[int], rounds: int, overrides: Sequence[str]) -> Seconds:
    """Seconds to plan one configuration with so many seeds."""
    unused = count(1)

    def plan(runs: int, folder: Path) -> None:
        _plan([f"optimizer.lr={next(unused)}e-7"], range(runs), folder)

    return _timed(plan, sizes, rounds)


def by_records(sizes: Sequence[int], rounds: int, overrides: Sequence[str]) -> Seconds:
    """Seconds of `vicinal tables` with so many records, once it has named the papers' runs."""

    def rebuild(_: int, folder: Path) -> None:
        found = records.load(folder / "runs")
        write(folder, pages(joined(found), found))

    return _timed(rebuild, sizes, rounds, fill)


def originals() -> list[dict[str, Any]]:
    """Our records of finished runs."""
    return [each for each in records.load(RESULTS / "runs") if "failed" not in each]


def fill(number: int, folder: Path) -> None:
    """Write so many records: ours, and copies with seeds of their own."""
    found = originals()
    for i in range(number):
        copies, original = divmod(i, len(found))
        _publish(found[original], 1000 * copies, folder)


def _timed(
    task: Callable[[int, Path], None],
    sizes: Sequence[int],
    rounds: int,
    prepare: Callable[[int, Path], None] = lambda size, folder: None,
) -> Seconds:
    """Medians of this process's time, each in a new folder; a first round warms up."""
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    with TemporaryDirectory() as place:
        task(sizes[0], Path(place))
    for size in [*sizes] * rounds:
        with TemporaryDirectory() as place:
            prepare(size, Path(place))
            began = process_time()
            task(size, Path(place))
            seconds[size].append(process_time() - began)
    return {size: median(each) for size, each in seconds.items()}


def _plan(rows: Sequence[str], seeds: Sequence[int], folder: Path) -> None:
    tree: dict[str, Any] = {
        "run": RUN,
        "columns": [{"label": "error", "measures": "error"}],
        "rows": [{"label": row, "run": [row]} for row in rows],
    }
    shared = (f"out={quote(str(folder))}", f"results={quote(str(folder))}")
    request = SweepRequest(("growth",), tuple(seeds), shared, reductions=((),))
    sweep = Sweep([Table("growth", tree)], request, compose_cached)
    assert len(sweep.jobs) == len(rows) * len(seeds)
    assert sweep.plan()


def _publish(record: dict[str, Any], later: int, folder: Path) -> None:
    """A copy under another seed, in its place."""
    seed = record["seed"] + later
    copy = record | {"seed": seed, "config": record["config"] | {"seed": seed}}
    path = records.published(str(folder), record["name"], seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(copy))
