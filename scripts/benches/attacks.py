"""Time attacks against the bare passes that they need: forwards, and backwards to the images.

Both work on the same batch and network, and take turns. Each figure is the median over rounds; a
ratio is ours over the bare passes of the same round. Writes attacks.json.
"""

import argparse
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benches.turns import turns
from benches.writing import write
from vicinal.cli.configs import build, compose
from vicinal.draws import Rng
from vicinal.evaluation.attacked import Attacked
from vicinal.machine.runtime import Runtime
from vicinal.models.normalized import Normalized
from vicinal.run import Run
from vicinal.storage.provenance import provenance

PASSES = {"fgsm": 1, "ifgsm": 10, "pgd": 10, "apgd": 101}  # forwards, each with a backward


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--attacks", nargs="*", choices=PASSES, default=["fgsm", "ifgsm", "pgd"])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print, write the JSON."""
    runtime = Runtime()
    runtime.start()
    origin = provenance(runtime.target)
    run: Run = build(compose(f"model={arguments.model}"))
    body = run.model(num_classes=10, shape=(3, 32, 32))
    model = runtime.place(Normalized(body, (0.5,) * 3, (0.25,) * 3)).eval()
    print(f"{origin['device']['name']}; {arguments.model}, seconds for {arguments.batch} images")
    print(f"{'attack':<8} {'ours':>10} {'passes':>10} {'ratio':>7}")
    rows = {name: compared(name, model, arguments, runtime) for name in arguments.attacks}
    settings = {key: getattr(arguments, key) for key in ("model", "batch", "rounds")}
    write(arguments.out, "attacks", origin | settings | {"seconds": rows})


def compared(
    name: str, model: nn.Module, arguments: argparse.Namespace, runtime: Runtime
) -> dict[str, float]:
    """Seconds of both for one batch, and their ratio; the first round is dropped."""
    chosen = f"+attack@evaluation.attacked.attacks.timed={name}"
    run: Run = build(compose("evaluation=attacked", chosen))
    evaluation = run.evaluation["attacked"]
    assert isinstance(evaluation, Attacked)
    attack = evaluation.attacks["timed"]
    rng = Rng.seeded(0, device=runtime.target)
    x = torch.rand((arguments.batch, 3, 32, 32), generator=rng.cpu).to(runtime.target)
    y = F.one_hot(torch.arange(arguments.batch) % 10, 10).to(x)
    x = runtime.layout(x)

    def ours() -> float:
        return attack(model, x, y, rng).sum().item()

    def bare() -> float:
        return passes(model, x, y.argmax(1), PASSES[name]).sum().item()

    seconds = turns({"ours": ours, "bare": bare}, arguments.rounds)
    ratio = median(a / b for a, b in zip(*seconds.values(), strict=True))
    found = {each: median(times) for each, times in seconds.items()}
    print(f"{name:<8} {found['ours']:10.3f} {found['bare']:10.3f} {ratio:7.3f}")
    return found | {"passes": PASSES[name], "ratio": ratio}


def passes(model: nn.Module, x: Tensor, labels: Tensor, count: int) -> Tensor:
    """Nothing but the passes, as anyone would write them."""
    for parameter in model.parameters():
        parameter.requires_grad = False
    gradient = x
    for _ in range(count):
        images = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(images), labels), images)
    for parameter in model.parameters():
        parameter.requires_grad = True
    return gradient
