"""Fit how costs grow: training steps, ranks, memory, plans and tables.

Each cost is measured at several sizes and fitted as a power of the size, cost = c * size ** a, and
as a line, cost = fixed + b * size; the table says which fits better. Beside the exponent stands
that of the theory, fitted over the same sizes: a step's arithmetic is proportional to the batch and
to the square of the width; MaxUp's m copies cost m forwards and a step, GradAug's sub-networks no
memory; ranks share a batch; plans and tables handle runs and records one by one.

On a CPU, times are those of one thread; of ranks they are those of the clock. Writes growth.json.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benches.drawn import composed
from benches.fits import fit
from benches.growth_steps import by_batch, by_copies, by_ranks, by_subnets, by_width, maxup_work
from benches.growth_tables import by_records, by_runs, by_seeds
from benches.writing import write
from vicinal.machine.cores import allowed_cores
from vicinal.storage.provenance import provenance

Measure = Callable[[Sequence[int], int, Sequence[str]], dict[int, float]]
Row = dict[str, Any]

ODD = 0.15  # a distance between exponents that the table marks


@dataclass(frozen=True)
class Cost:
    """A cost, what it should be proportional to, and the sizes to measure it at."""

    measure: Measure
    size: str
    unit: str
    theory: Callable[[float], float]
    sizes: tuple[int, ...]
    few: tuple[int, ...]  # for a quick look

    def row(self, sizes: Sequence[int], costs: Mapping[int, float], most: int | None) -> Row:
        """The costs and their fits; larger sizes than `most` are kept out of these."""
        row: Row = {"size": self.size, "unit": self.unit}
        row["points"] = [[size, costs[size]] for size in sizes]
        fitted = [size for size in sizes if most is None or size <= most]
        row["not_fitted"] = [size for size in sizes if size not in fitted]
        if len(fitted) < 2:
            return row
        theory = fit(fitted, [self.theory(size) for size in fitted])
        found = fit(fitted, [costs[size] for size in fitted])
        return row | {"theory": theory.exponent} | found.row()


def linear(size: float) -> float:
    """In proportion."""
    return size


COSTS = {
    "batch": Cost(by_batch, "images", "s", linear, (16, 32, 64, 128, 256), (4, 8, 16)),
    "width": Cost(by_width, "times as wide", "s", lambda k: k**2, (1, 2, 4, 8), (1, 2, 4)),
    "copies": Cost(by_copies, "copies", "s", maxup_work, (1, 2, 4, 8, 16), (1, 2, 4)),
    "ranks": Cost(by_ranks, "ranks", "s", lambda ranks: 1 / ranks, (1, 2), (1, 2)),
    "memory": Cost(by_subnets, "sub-networks", "bytes", lambda n: 1.0, (1, 2, 4, 8), (1, 2, 4)),
    "runs": Cost(by_runs, "configurations", "s", linear, (50, 100, 200, 400, 800), (5, 10, 20)),
    "seeds": Cost(by_seeds, "seeds", "s", linear, (100, 300, 1000, 3000, 10_000), (10, 20, 40)),
    "tables": Cost(by_records, "records", "s", linear, (100, 300, 1000, 3000, 10_000), (5, 10)),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("overrides", nargs="*", help="for every training step, e.g. runtime=cpu")
    parser.add_argument("--only", nargs="+", choices=COSTS, default=[*COSTS], metavar="COST")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few and small sizes, one round")
    parser.add_argument("--ranks", type=int, nargs="+", help="in place of 1 2")


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print a table, write the JSON."""
    rows = {name: measured(name, arguments) for name in arguments.only}
    origin = provenance(composed(*arguments.overrides).runtime.target)
    print(f"{origin['device']['name']}, {allowed_cores()} cores", *table(rows), sep="\n")
    settings = {key: getattr(arguments, key) for key in ("overrides", "rounds", "quick")}
    write(arguments.out, "growth", origin | settings | {"costs": rows})


def measured(name: str, arguments: argparse.Namespace) -> Row:
    """The row of one cost; more ranks than cores say nothing of ranks."""
    cost, most = COSTS[name], allowed_cores() if name == "ranks" else None
    sizes = cost.few if arguments.quick else cost.sizes
    if name == "ranks" and arguments.ranks:
        sizes = tuple(arguments.ranks)
    rounds = 1 if arguments.quick else arguments.rounds
    return cost.row(sizes, cost.measure(sizes, rounds, arguments.overrides), most)


def table(rows: Mapping[str, Row]) -> Iterator[str]:
    """A line per cost, and what it needs under it."""
    yield (
        f"{'cost':8}{'sizes':>30}{'first':>11}{'last':>11}       {'exponent':>9}{'theory':>8}"
        f"{'residual':>10}  fits better"
    )
    for name, row in rows.items():
        (small, first), (large, last) = row["points"][0], row["points"][-1]
        sizes = f"{small} to {large} {row['size']}"
        yield f"{name:8}{sizes:>30}{first:11.4g}{last:11.4g} {row['unit']:6}{_fits(row)}"
        if row["not_fitted"]:
            beyond = ", ".join(map(str, row["not_fitted"]))
            yield f"{'':8}not fitted, being more than the machine's cores: {beyond}"


def _fits(row: Row) -> str:
    if "power" not in row:
        return f"{'-':>9}{'-':>8}{'-':>10}  -"
    exponent, line = row["power"]["exponent"], row["line"]
    odd = "!" if abs(exponent - row["theory"]) > ODD else " "
    residual = row["power"]["residual"]
    cells = f"{exponent:8.2f}{odd}{row['theory']:8.2f}"
    if residual is None:
        return f"{cells}{'-':>10}  - (two sizes)"
    better = row["fits_better"]
    if better == "line":
        better = f"{line['fixed']:.3g} + {line['per_unit']:.3g} n (residual {line['residual']:.3f})"
    return f"{cells}{residual:10.3f}  {better}"
