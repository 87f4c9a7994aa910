"""Runs that are begun in one form and go on in another: a matrix of how far they stray.

python tests/crossings.py devices    layouts, precisions, and the device of apart.py
python tests/crossings.py ranks      layouts, and one or two ranks

Each run takes some steps in the form of its row and the rest in that of its column, through what a
checkpoint holds. It is compared with the run that only changed its precision: printed is how far
weights, average and momentum are apart, |a - b| / |b| of the worst. One line of JSON ends it all.
"""

import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from apart import NAME, Anywhere, Apart, Device
from composing import compose
from torch.utils._pytree import tree_map_only
from two_ranks import on_two

import vicinal.draws
from vicinal.cli.configs import build
from vicinal.data.dataset import Data
from vicinal.loop import Loop
from vicinal.machine.runtime import Runtime
from vicinal.run import Run

BEFORE, AFTER = 3, 2  # steps, in two epochs
LINES = (
    "dataset=digits dataset.size=8 dataset.train_per_class=4 model=wrn10_2 runtime.threads=1 "
    "schedule.epochs=3 schedule.batch_size=10 optimizer.lr=0.02 optimizer.ema_decay=0.7"
).split()
# Draws of the CPU alone, which go on anywhere; or none, so that shares of a batch do not differ.
DRAWN = {
    "devices": ["method=mixup"],
    "ranks": ["method=erm", "dataset.crop_padding=0", "runtime.sync_batchnorm=true"],
}


@dataclass(frozen=True)
class Form:
    """How a run computes."""

    device: str = "cpu"
    channels_last: bool = False
    precision: str = "fp32"
    ranks: int = 1

    def __str__(self) -> str:
        layout = "channels last" if self.channels_last else "contiguous"
        many = f", {self.ranks} ranks" if self.ranks > 1 else ""
        return f"{self.device}, {layout}, {self.precision}{many}"


FORMS = {
    "devices": [
        Form(),
        Form(channels_last=True),
        Form(precision="bf16"),
        Form(device=NAME, channels_last=True),  # as on a GPU, but for bf16
    ],
    "ranks": [Form(), Form(channels_last=True), Form(channels_last=True, ranks=2)],
}


def main(kind: str) -> None:
    torch.set_num_threads(1)
    forms = FORMS[kind]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if kind == "devices":
            stack.enter_context(patch.object(vicinal.draws, "Generator", Anywhere))
            stack.enter_context(Device())
        begun = {form: state(kind, form, None, BEFORE, Path(folder)) for form in forms}

        @cache
        def expected(first: str, then: str) -> dict[str, Any]:
            start = begun[Form(precision=first)]
            return state(kind, Form(precision=then), start, AFTER, Path(folder))

        rows: dict[str, dict[str, float]] = {}
        for form, other in product(forms, forms):
            found = state(kind, other, begun[form], AFTER, Path(folder))
            strayed = furthest(found, expected(form.precision, other.precision))
            rows.setdefault(str(form), {})[str(other)] = strayed
    print(f"{'begun in, going on in':32}" + "".join(f"{form!s:>32}" for form in forms))
    for name, row in rows.items():
        print(f"{name:32}" + "".join(f"{strayed:32.1e}" for strayed in row.values()))
    print(json.dumps(rows))


def state(kind: str, form: Form, start: bytes | None, steps: int, folder: Path) -> bytes:
    """What a checkpoint holds after so many steps, from its start or from another's state."""
    task = partial(trained, kind, form, start, steps)
    if kind == "devices":
        return task()
    composed(kind, form.channels_last, form.precision)  # once, for all that are forked from here
    return on_two(task, folder, form.ranks)[0]  # so that no backward may run in this process


@cache
def composed(kind: str, channels_last: bool, precision: str) -> tuple[Run, Data]:
    form = f"runtime.channels_last={channels_last}", f"runtime.precision={precision}"
    run: Run = build(compose(*LINES, *DRAWN[kind], *form))
    return run, run.dataset.load()


def trained(kind: str, form: Form, start: bytes | None, steps: int) -> bytes:
    run, data = composed(kind, form.channels_last, form.precision)
    # Changed in place, a parameter of the device would go on holding the former layout's tensor.
    torch.__future__.set_overwrite_module_params_on_conversion(form.device == NAME)
    with patch.object(Runtime, "target", form.device):
        loop = run.loop(data.to(form.device))
        if start is not None:
            loop.restore(torch.load(BytesIO(start), map_location="cpu", weights_only=True))
        advance(loop, steps)
        held = tree_map_only(Apart, lambda tensor: tensor.held, loop.state())
    content = BytesIO()
    torch.save(held, content)
    return content.getvalue()


def advance(loop: Loop, steps: int) -> None:
    until = loop.steps_done + steps
    while loop.steps_done < until:
        for _ in loop.steps():
            if loop.steps_done == until:
                break
        if loop.steps_done == (loop.epoch + 1) * loop.batches.steps(0):
            loop.close_epoch()


def furthest(found: bytes, expected: bytes) -> float:
    """How far apart the worst of what is trained, averaged and accumulated is."""
    return max(
        ((a - b).norm() / b.norm()).item()
        for a, b in zip(parts(found), parts(expected), strict=True)
    )


def parts(content: bytes) -> list[torch.Tensor]:
    held = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    momenta = [state["momentum_buffer"] for state in held["optimizer"]["state"].values()]
    tensors = (held["model"].values(), held["average"].values(), momenta)
    return [torch.cat([t.double().flatten() for t in each]) for each in tensors]


if __name__ == "__main__":
    main(sys.argv[1])
