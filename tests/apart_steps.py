"""Steps of methods on the device of apart.py beside the CPU's; one line of JSON says what differed.

A process of its own: the first backward of a process is the last to look for devices, and a process
that has another device than the CPU can no longer be forked.
"""

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from unittest.mock import patch

import torch
from apart import NAME, Anywhere, Apart, Device, unwaited

import vicinal.draws
from vicinal.cli.configs import build, compose
from vicinal.loop import Loop
from vicinal.machine.runtime import Runtime
from vicinal.run import Run

WAITING = {"puzzlemix"}  # its minimum cut is the CPU's


def main(methods: list[str]) -> None:
    with patch.object(vicinal.draws, "Generator", Anywhere), Device():
        print(json.dumps({method: difference(method) for method in methods}))


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
    settings = "dataset=digits", "model=wrn10_2", "schedule.batch_size=4", f"method={method}"
    run: Run = build(compose(*settings, "optimizer.ema_decay=0.9"))
    with patch.object(Runtime, "target", target):
        data = run.dataset.load()
        data = replace(data, unlabelled=data.test).to(target)
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
