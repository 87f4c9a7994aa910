"""What methods and vicinities ask of the device of apart.py; one line of JSON says what was found.

A process of its own: the first backward of a process is the last to look for devices, and a process
that has another device than the CPU can no longer be forked.
"""

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules
from unittest.mock import patch

import torch
from apart import NAME, Anywhere, Apart, Device, WaitsError, unwaited
from composing import brief, compose
from every_attack import ATTACKS, batch, made, small

import vicinal.draws
from vicinal import vicinities
from vicinal.cli.configs import build
from vicinal.draws import Rng
from vicinal.loop import Loop
from vicinal.machine.runtime import Runtime
from vicinal.run import Run

OTHERS = {"compose", "word_dropout"}  # need vicinities or text
VICINITIES = [m.name for m in iter_modules(vicinities.__path__) if m.name not in OTHERS]
SMALL = "dataset=digits dataset.size=8 model=wrn10_2 schedule.batch_size=4".split()
WAIT = [
    "there.sum().item()",
    "here.to(NAME)",
    "there.to('cpu', non_blocking=True)",
    "there[there > 1]",
    "there[torch.tensor([1])]",
    "there.nonzero()",
    "torch.zeros(16385).to(NAME, non_blocking=True)",
]
DO_NOT_WAIT = [
    "here.to(NAME, non_blocking=True) + there",
    "there[there.long()]",
    "there * 2",
    "torch.zeros(16384).to(NAME, non_blocking=True)",
]
WAITING = {"puzzlemix"}  # its minimum cut is the CPU's


def main(methods: list[str]) -> None:
    with patch.object(vicinal.draws, "Generator", Anywhere), Device():
        found = {
            "waiting": {line: waits(line) for line in [*WAIT, *DO_NOT_WAIT]},
            "meeting": meeting(),
            "vicinities": {name: sent(name) for name in VICINITIES},
            "attacks": {name: unlike(name) for name in ATTACKS},
            "methods": {method: difference(method) for method in methods},
        }
    print(json.dumps(found))


def waits(line: str) -> bool:
    here = torch.arange(4.0)
    names = {"torch": torch, "NAME": NAME, "here": here, "there": here.to(NAME)}
    try:
        with unwaited():
            eval(line, names)
    except WaitsError:
        return True
    return False


def meeting() -> str:
    """What is said of a sum over two devices."""
    here = torch.arange(4.0)
    try:
        return str(here.to(NAME) + here)
    except RuntimeError as error:
        return str(error)


def sent(name: str) -> str | None:
    """What a vicinity waits for, once it has filled its tables; 256 images are too many to send."""
    module = import_module(f"vicinal.vicinities.{name}")
    (made,) = (v for k, v in vars(module).items() if k.lower() == name.replace("_", ""))
    vicinity, rng = made(), Rng.seeded(0, device=NAME)
    x, y = torch.rand(256, 3, 32, 32).to(NAME), torch.eye(256).to(NAME)
    try:
        vicinity(x, y, rng)
        with unwaited():
            vicinity(x, y, rng)
    except RuntimeError as error:
        return str(error)
    return None


def unlike(name: str) -> str | None:
    """What an attack waits for, or how its images differ from the CPU's."""
    try:
        there, here = (attacked(name, device) for device in (NAME, "cpu"))
    except RuntimeError as error:
        return str(error)
    assert isinstance(there, Apart)
    return None if torch.equal(there.held, here) else "its images differ"


def attacked(name: str, device: str) -> torch.Tensor:
    attack, x, y = made(name), *(each.detach().to(device) for each in batch(small()))
    model, draws = small().to(device), Rng.seeded(0, device=device).of_rows(range(len(x)))
    with unwaited():
        return attack(model, x, y, draws)


def difference(method: str) -> str | None:
    """What went otherwise on the device than on the CPU."""
    try:
        there, measured_there = trained(method, NAME)
        here, measured_here = trained(method, "cpu")
    except RuntimeError as error:
        return str(error)
    if measured_there != measured_here:
        return f"measured {measured_there}, on the CPU {measured_here}"
    pairs = zip(weights(there).items(), weights(here).values(), strict=True)
    return next(
        (f"{name} differs" for (name, value), w in pairs if not torch.equal(value, w)), None
    )


def trained(method: str, target: str) -> tuple[Loop, dict[str, float]]:
    """Two steps, of which the second waits for nothing, and an evaluation."""
    settings = *SMALL, f"method={method}"
    run: Run = build(compose(*settings, "optimizer.ema_decay=0.9"))
    run = replace(run, method=brief(run.method))
    with patch.object(Runtime, "target", target):
        data = run.dataset.load()
        few = data.test[torch.arange(20)]
        data = replace(data, test=few, unlabelled=few).to(target)
        loop = run.loop(data)
        steps = loop.steps()
        next(steps)  # what is done once may wait
        with nullcontext() if method in WAITING else unwaited():
            next(steps)
        loop.check_weights()
        return loop, run.measure(loop.network, data)


def weights(loop: Loop) -> dict[str, torch.Tensor]:
    state = loop.model.state_dict()
    return {name: v.held if isinstance(v, Apart) else v for name, v in state.items()}


if __name__ == "__main__":
    main(sys.argv[1:])
