"""Time a training step of every method against ERM's, and ours against a bare PyTorch loop.

All run in one process, in rounds of random order, so that a slow moment of the machine affects
everyone; each figure is the median over rounds of the ratio within a round.
Writes MODEL-BATCH-DEVICE.json.
"""

import argparse
import random
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
from torch.nn import functional as F

from benches.drawn import composed, drawn_data, endless, methods
from benches.racing import now
from benches.writing import write
from vicinal.data.dataset import Data
from vicinal.data.split import Split
from vicinal.run import Run
from vicinal.storage.provenance import provenance

STEPS = 64  # data for this many are drawn once


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("overrides", nargs="*", help="for every run of ours, e.g. runtime=cpu")
    parser.add_argument("--model", default="wrn16_4")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=10)
    listed = "default: all; with settings: 'augmax method.steps=5'"
    parser.add_argument("--methods", nargs="*", help=listed)


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print a table, write the JSON."""
    contenders = {"bare loop": bare(arguments), "erm": ours(arguments, "erm")}
    others = [name for name in arguments.methods or methods() if name != "erm"]
    contenders |= {name: ours(arguments, name) for name in others}
    seconds = measure(contenders, arguments.rounds)
    result = table(arguments, seconds)
    write(arguments.out, f"{arguments.model}-{arguments.batch}-{result['device']['type']}", result)


def chosen(arguments: argparse.Namespace, *overrides: str) -> tuple[Run, Data]:
    """The run that the command line would make for CIFAR-10, and data for it."""
    batch, model = f"schedule.batch_size={arguments.batch}", f"model={arguments.model}"
    run = composed(model, batch, *arguments.overrides, *overrides)
    run.runtime.start()
    return run, drawn_data(STEPS * arguments.batch, run.runtime.target)


def ours(arguments: argparse.Namespace, method: str) -> Iterator[int]:
    """The suite's own loop over CIFAR-shaped data, one step at a time."""
    run, data = chosen(arguments, *f"method={method}".split())
    yield from endless(run.loop(data))


def bare(arguments: argparse.Namespace) -> Iterator[int]:
    """What a competent user writes: indexed batches, no augmentation, no logging, no checks."""
    run, data = chosen(arguments)
    assert isinstance(data.train, Split)
    network, x, y = run.build(data), data.train.x, data.train.y
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    while True:
        for rows in torch.randperm(len(y)).to(y.device).split(arguments.batch):
            with run.runtime.autocast():
                images = run.runtime.begin_step(x[rows].float() / 255)
                loss = F.cross_entropy(network(images), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield len(rows)


def measure(
    contenders: dict[str, Iterator[int]], rounds: int, clock: Callable[[], float] = now
) -> dict[str, list[float]]:
    """Seconds per step, by contender and round; the first round warms up and is dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        order = random.Random(turn).sample(sorted(contenders), len(contenders))
        for name, steps in ((name, contenders[name]) for name in order):
            began = clock()
            next(steps)
            ended = clock()
            if turn:
                seconds[name].append(ended - began)
    return seconds


def table(arguments: argparse.Namespace, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Print and return milliseconds per step, and ratios to ERM's step in the same round."""
    origin = provenance("cuda" if torch.cuda.is_available() else "cpu")
    rows = {
        name: {
            "milliseconds": 1000 * median(times),
            "over_erm": median(a / b for a, b in zip(times, seconds["erm"], strict=True)),
        }
        for name, times in seconds.items()
    }
    erm_over_bare = [a / b for a, b in zip(seconds["erm"], seconds["bare loop"], strict=True)]
    print(f"{arguments.model}, batch {arguments.batch}, {origin['device']['name']}")
    print(f"{'':28} {'ms/step':>10} {'over ERM':>10}")
    for name, row in rows.items():
        print(f"{name:28} {row['milliseconds']:10.1f} {row['over_erm']:10.3f}")
    print(f"our ERM step over the bare loop's: {median(erm_over_bare):.3f}")
    return origin | {
        "model": arguments.model,
        "batch": arguments.batch,
        "rounds": arguments.rounds,
        "erm_over_bare": median(erm_over_bare),
        "steps": rows,
    }
