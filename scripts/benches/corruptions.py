"""Time ImageNet-C's corruptions against imagecorruptions, on one core, and compare their pixels.

The package takes one image at a time and knows the constants for 224 pixels alone, so at each size
it competes with ours at these; another column has ours at the size's own. They take turns. A figure
is milliseconds per image, the mean over severities of the median over rounds, in this process's CPU
time. Then ours meet the literal corruptions of the tests, which get the same draws: the share of
equal values, and the largest difference. Writes corruptions.json.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import fmean, median
from time import process_time
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from benches.writing import write
from vicinal.draws import Rng
from vicinal.images.corruptions.corrupt import COMMON, SEVERITIES, TABLE, corrupted
from vicinal.images.corruptions.severities import PUBLISHED
from vicinal.machine.runtime import keep_freed_memory
from vicinal.storage.provenance import provenance

Pixels = UInt8[Tensor, "n 3 h w"]
TESTS = Path(__file__).parents[2] / "tests"
BLOCK_PIXELS = 1_024_000  # in one call, as when test sets are corrupted: 1000 images of 32 x 32
THEIRS = {32: 20, 64: 10, 224: 2}  # images per round, which take the package about as long
COMPARED = {32: 40, 64: 20, 224: 4}
COLUMNS = "own_constants", "ours", "package"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("--sizes", nargs="*", type=int, choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--rounds", type=int, default=3)


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print, write the JSON."""
    torch.set_num_threads(1)
    keep_freed_memory()
    sys.path.append(str(TESTS))
    samples = import_module("corruption_samples")
    result = provenance("cpu") | {"rounds": arguments.rounds}
    result |= {"milliseconds": {}, "seconds_for_10000_images": {}, "agreement": {}}
    for size in arguments.sizes:
        x = samples.photographs(size, BLOCK_PIXELS // size**2)
        times = {name: milliseconds(name, x, arguments.rounds) for name in TABLE}
        equal = {name: agreements(name, x[-COMPARED[size] :], samples) for name in TABLE}
        totals = {key: sum(times[name][key] for name in COMMON) * 50 for key in COLUMNS}
        result["milliseconds"][str(size)] = times
        result["seconds_for_10000_images"][str(size)] = totals  # at each of five severities
        result["agreement"][str(size)] = equal
        print_times(size, times, totals)
        print_agreement(size, equal)
    write(arguments.out, "corruptions", result)


def milliseconds(name: str, x: Pixels, rounds: int) -> dict[str, float]:
    """Per image, the mean over severities; the first round is dropped."""
    few = x[: THEIRS[x.shape[2]]]
    images = list(few.permute(0, 2, 3, 1).contiguous().numpy())
    found: dict[str, list[float]] = {key: [] for key in COLUMNS}
    for severity in SEVERITIES:
        contenders: dict[str, tuple[Callable[[], object], int]] = {
            "own_constants": (partial(corrupted, name, severity, x, Rng.seeded(0)), len(x)),
            "ours": (partial(corrupted, name, severity, x, Rng.seeded(0), side=224), len(x)),
            "package": (partial(one_by_one, name, severity, images), len(images)),
        }
        seconds: dict[str, list[float]] = {key: [] for key in COLUMNS}
        for turn in range(rounds + 1):
            for key, (contender, count) in contenders.items():
                began = process_time()
                contender()
                if turn:
                    seconds[key].append((process_time() - began) / count)
        for key, each in seconds.items():
            found[key].append(1000 * median(each))
    means = {key: fmean(each) for key, each in found.items()}
    return means | {"ratio": means["package"] / means["ours"]}


def one_by_one(name: str, severity: int, images: list[np.ndarray]) -> list[np.ndarray]:
    """The package's way."""
    corrupt_one = import_module("imagecorruptions").corrupt
    return [corrupt_one(image, severity, name) for image in images]


def agreements(name: str, x: Pixels, samples: Any) -> list[tuple[float, int]]:
    """For each severity, the share of equal values and the largest difference."""
    found = []
    for severity in SEVERITIES:
        ours, literal = (
            torch.cat([of(name, severity, one, Rng.seeded(0).fork(i)) for i, one in singles(x)])
            for of in (corrupted, samples.literal)
        )
        found.append(samples.agreement(ours, literal))
    return found


def singles(x: Pixels) -> list[tuple[int, Pixels]]:
    """One image after another, so that both draw in the same order."""
    return list(enumerate(x.split(1)))


def print_times(size: int, times: Mapping[str, dict[str, float]], totals: dict[str, float]) -> None:
    """As a Markdown table."""
    print(f"\n| {size} px, ms per image | own constants | at 224's | imagecorruptions | ratio |")
    print("|---|---:|---:|---:|---:|")
    for name, row in times.items():
        cells = [f"{row[key]:.3f}" for key in COLUMNS] + [f"{row['ratio']:.1f}"]
        print(f"| {name} | {' | '.join(cells)} |")
    ratio = totals["package"] / totals["ours"]
    cells = [f"{totals[key]:.0f} s" for key in COLUMNS] + [f"{ratio:.1f}"]
    print(f"| 15 x 5 x 10,000 images | {' | '.join(cells)} |")


def print_agreement(size: int, equal: Mapping[str, list[tuple[float, int]]]) -> None:
    """As a Markdown table."""
    print(f"\n| {size} px, equal values and largest difference | 1 | 2 | 3 | 4 | 5 |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, row in equal.items():
        cells = [f"{share:.4%}, {largest}" for share, largest in row]
        print(f"| {name} | {' | '.join(cells)} |")
