"""Time a training step of two gloo ranks, and of gradient accumulation, against half of the batch.

One process trains on half of the batch ("half"), two ranks on a half each ("ranks"), one process on
both halves as pieces of one step ("pieces"). Each has one thread. They take turns, in rounds of
random order; each figure is the median over rounds, ratios are medians of ratios within a round.
A rank's communication is the time it spends in collectives, waiting for the other rank included.
Two ranks also share the machine's memory and caches, which a process alone has for itself.
Writes ranks.json.
"""

import argparse
import multiprocessing
import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch

from benches.drawn import composed, drawn_data, endless
from benches.writing import write
from vicinal.machine import ranks
from vicinal.storage.provenance import provenance

METHODS = ("erm", "mixup", "gradaug", "augmax")
STEPS = 8  # data for this many are drawn once
WORLD = 2


@dataclass(frozen=True)
class Times:
    """Seconds of a turn of one process."""

    wall: float
    cpu: float
    communication: float


@dataclass(frozen=True)
class Turn:
    """What a process is asked for: steps of a run of its own kind."""

    overrides: tuple[str, ...]
    batch: int
    steps: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("overrides", nargs="*", help="for every run, e.g. runtime.precision=bf16")
    parser.add_argument("--model", default="wrn16_4")
    parser.add_argument("--batch", type=int, default=64, help="of both ranks or pieces together")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="of a turn")
    parser.add_argument("--methods", nargs="*", default=METHODS)


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print a table, write the JSON."""
    with started(None) as alone, started(WORLD) as together:
        rows = {name: measured(arguments, name, alone, together) for name in arguments.methods}
    origin = provenance("cpu")
    print(f"{arguments.model}, batch {arguments.batch} in {WORLD} halves, one thread each")
    columns = "half ms", "ranks / half", "by CPU time", "communication", "pieces / 2 halves"
    print(f"{'':12}" + "".join(f"{column:>19}" for column in columns))
    for name, row in rows.items():
        print(f"{name:12}" + "".join(f"{value:19.3f}" for value in row.values()))
    settings = {key: getattr(arguments, key) for key in ("model", "batch", "rounds", "steps")}
    write(arguments.out, "ranks", origin | settings | {"methods": rows})


def measured(
    arguments: argparse.Namespace, method: str, alone: list[Connection], together: list[Connection]
) -> dict[str, float]:
    """Medians over the rounds, of which the first warms up and is dropped."""
    lines = (f"method={method}", f"model={arguments.model}", *arguments.overrides)
    whole, pieces = arguments.batch, (*lines, f"runtime.accumulate={WORLD}")
    turns = {
        "half": (alone, Turn(lines, whole // WORLD, arguments.steps)),
        "pieces": (alone, Turn(pieces, whole, arguments.steps)),
        "ranks": (together, Turn(lines, whole, arguments.steps)),
    }
    rounds: list[dict[str, Times]] = []
    for number in range(arguments.rounds + 1):
        order = random.Random(number).sample(sorted(turns), len(turns))
        rounds.append({name: slowest(*turns[name]) for name in order})
    kept = rounds[1:]
    return {
        "half_milliseconds": 1000 * median(each["half"].wall for each in kept) / arguments.steps,
        "ranks_over_half": median(each["ranks"].wall / each["half"].wall for each in kept),
        "ranks_over_half_cpu": median(each["ranks"].cpu / each["half"].cpu for each in kept),
        "communication_share": median(
            each["ranks"].communication / each["ranks"].wall for each in kept
        ),
        "pieces_over_halves": median(
            each["pieces"].cpu / (WORLD * each["half"].cpu) for each in kept
        ),
    }


def slowest(processes: list[Connection], turn: Turn) -> Times:
    """The times of the process that took longest of those that worked together."""
    for each in processes:
        each.send(turn)
    return max((each.recv() for each in processes), key=lambda times: times.wall)


@contextmanager
def started(world: int | None) -> Iterator[list[Connection]]:
    """The ends of pipes to the ranks of a group, or to one process that is in none."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context, ends, children = multiprocessing.get_context("fork"), [], []
    for rank in range(world or 1):
        mine, theirs = context.Pipe()
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        place |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world or 1)}
        child = context.Process(target=work, args=(theirs, place), daemon=True)
        child.start()
        theirs.close()
        ends.append(mine)
        children.append(child)
    yield ends
    for end in ends:
        end.send(None)
    for child in children:
        child.join()


def work(asked: Connection, place: dict[str, str]) -> None:
    """Answer every turn with its times, until there is none."""
    os.environ.update(place)
    torch.set_num_threads(1)
    ranks.join("cpu")
    spent = watch_collectives()
    runs: dict[tuple[Any, ...], Iterator[int]] = {}
    while (turn := asked.recv()) is not None:
        key = (turn.overrides, turn.batch)
        if key not in runs:
            runs[key] = steps_of(turn)
            next(runs[key])
        began = perf_counter(), process_time(), sum(spent)
        for _ in range(turn.steps):
            next(runs[key])
        asked.send(
            Times(perf_counter() - began[0], process_time() - began[1], sum(spent) - began[2])
        )
    ranks.leave()


def steps_of(turn: Turn) -> Iterator[int]:
    """The suite's own loop over CIFAR-shaped data."""
    settings = f"schedule.batch_size={turn.batch}", "runtime=cpu", "runtime.threads=1"
    run = composed(*settings, *turn.overrides)
    run.runtime.start()
    return endless(run.loop(drawn_data(STEPS * turn.batch, "cpu")))


def watch_collectives() -> list[float]:
    """The seconds of each call of a training step's collectives from now on."""
    spent: list[float] = []

    def timed(call: Callable[..., Any], *given: Any) -> Any:
        began = perf_counter()
        result = call(*given)
        spent.append(perf_counter() - began)
        return result

    start, reduce = ranks.all_reduce_async_, ranks.all_reduce_

    def started_sum(values: torch.Tensor) -> Callable[[], None]:
        wait = timed(start, values)
        return lambda: timed(wait)

    ranks.all_reduce_async_ = started_sum
    ranks.all_reduce_ = lambda values: timed(reduce, values)
    return spent
