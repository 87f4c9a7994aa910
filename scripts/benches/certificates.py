"""Time certificates against bare forward passes of as many images, in eval mode.

Both see batches of one size, and take turns. Each figure is the median over rounds. Writes
certificates.json.
"""

import argparse
from math import ceil
from statistics import median

import torch
from torch import nn

from benches.turns import turns
from benches.writing import write
from vicinal.cli.configs import build, compose
from vicinal.data.dataset import Data
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.evaluation.certified import Certified
from vicinal.machine.runtime import Runtime
from vicinal.run import Run
from vicinal.storage.provenance import provenance

SIGMA, GOAL = 0.25, 0.95


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("--depths", type=int, nargs="*", default=[20, 110], help="of ResNets")
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--copies", type=int, default=900, help="n; n0 is 100")
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print, write the JSON."""
    runtime = Runtime()
    runtime.start()
    origin = provenance(runtime.target)
    print(f"{origin['device']['name']}; noisy copies per second, batches of {arguments.batch}")
    print(f"{'model':<12} {'certificates':>12} {'bare':>10} {'ratio':>7} (goal: {GOAL})")
    rows = {f"resnet{depth}": compared(depth, arguments, runtime) for depth in arguments.depths}
    settings = {key: getattr(arguments, key) for key in ("images", "copies", "batch", "rounds")}
    write(
        arguments.out, "certificates", origin | settings | {"goal": GOAL, "copies_per_second": rows}
    )


def compared(depth: int, arguments: argparse.Namespace, runtime: Runtime) -> dict[str, float]:
    """Copies per second of both, and the median ratio within a round; the first is dropped."""
    run: Run = build(compose("model=resnet110", f"model.depth={depth}"))
    placed = runtime.place(run.model(num_classes=10, shape=(3, 32, 32)))
    model = runtime.evaluated(runtime.compiled(placed))
    drawn = torch.Generator().manual_seed(0)
    x = torch.randint(256, (arguments.images, 3, 32, 32), dtype=torch.uint8, generator=drawn)
    test = Split(x, torch.zeros(arguments.images, dtype=torch.int64)).to(runtime.target)
    data = Data.of_test(test, num_classes=10)
    certified = Certified(SIGMA, n=arguments.copies, every=1, batch_size=arguments.batch)
    noisy = torch.randn((arguments.batch, 3, 32, 32), device=runtime.target)
    counted = arguments.images * (certified.n0 + certified.n)
    count = ceil(counted / arguments.batch)

    def certificates() -> None:
        certified(model, data, Rng.seeded(0, device=runtime.target))

    def bare() -> None:
        forwards(model.eval(), noisy, count)

    copies = {"certificates": counted, "bare": count * arguments.batch}
    with runtime.autocast():
        seconds = turns({"certificates": certificates, "bare": bare}, arguments.rounds)
    found = {name: [copies[name] / each for each in times] for name, times in seconds.items()}
    rates = {name: median(each) for name, each in found.items()}
    ratio = median(a / b for a, b in zip(*found.values(), strict=True))
    print(f"resnet{depth:<6} {rates['certificates']:12.0f} {rates['bare']:10.0f} {ratio:7.3f}")
    return rates | {"ratio": ratio}


@torch.no_grad()
def forwards(model: nn.Module, x: torch.Tensor, count: int) -> float:
    """Logits of the same batch, again and again."""
    total = torch.zeros((), device=x.device)
    for _ in range(count):
        total += model(x).sum()
    return total.item()
