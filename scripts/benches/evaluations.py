"""Time the evaluation of a test set against a bare loop that counts hits; checks them equal.

Both see the same batches of the same network, and take turns. Each figure is the median over
rounds. Writes evaluations.json.
"""

import argparse
from statistics import median

import torch
from torch import nn

from benches.turns import turns
from benches.writing import write
from vicinal.cli.configs import build, compose
from vicinal.data.split import Split
from vicinal.evaluation.clean import Clean
from vicinal.machine.runtime import Runtime
from vicinal.run import Run
from vicinal.storage.provenance import provenance


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("--models", nargs="*", default=["wrn10_2", "wrn40_2", "preact_resnet18"])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print, write the JSON."""
    runtime = Runtime()
    runtime.start()
    origin = provenance(runtime.target)
    print(f"{origin['device']['name']}; images per second, batches of {arguments.batch}")
    print(f"{'model':<16} {'ours':>10} {'bare loop':>10} {'ratio':>7}")
    rows = {name: compared(name, arguments, runtime) for name in arguments.models}
    settings = {key: getattr(arguments, key) for key in ("images", "batch", "rounds")}
    write(arguments.out, "evaluations", origin | settings | {"images_per_second": rows})


def compared(name: str, arguments: argparse.Namespace, runtime: Runtime) -> dict[str, float]:
    """Images per second of both, and the median ratio within a round; the first is dropped."""
    run: Run = build(compose(f"model={name}"))
    model = runtime.place(run.model(num_classes=10, shape=(3, 32, 32)))
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(256, (arguments.images, 3, 32, 32), dtype=torch.uint8, generator=rng)
    y = torch.randint(10, (arguments.images,), generator=rng)
    split, clean = Split(x, y).to(runtime.target), Clean(arguments.batch)

    def ours() -> float:
        with runtime.autocast():
            return clean(runtime.evaluated(model), split)["top1"]

    def bare() -> float:
        with runtime.autocast():
            return accuracy(model.eval(), split, arguments.batch)

    if abs(ours() - bare()) > 1e-6:
        raise RuntimeError(f"the accuracies of {name} differ: {ours()} and {bare()}")
    seconds = turns({"ours": ours, "bare": bare}, arguments.rounds)
    rates = {name: arguments.images / median(times) for name, times in seconds.items()}
    ratio = median(b / a for a, b in zip(*seconds.values(), strict=True))
    print(f"{name:<16} {rates['ours']:10.0f} {rates['bare']:10.0f} {ratio:7.3f}")
    return rates | {"ratio": ratio}


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, batch: int) -> float:
    """What a user would write."""
    hits = torch.zeros((), device=split.y.device)
    for x, y in zip(split.x.split(batch), split.y.split(batch), strict=True):
        hits += (model(x.float() / 255).argmax(1) == y).sum()
    return 100 * hits.item() / len(split)
