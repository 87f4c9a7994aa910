"""A second set of weights for a network: the average of its past weights.

They are buffers, so that checkpoints hold them and optimizers do not. They run through the network
itself, so that every change to its modules reaches the teacher.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vicinal.contracts import Inputs, Logits
from vicinal.surgery.modes import frozen_statistics
from vicinal.surgery.uncompiled import uncompiled

NAME = "teacher"


def add_teacher(model: nn.Module) -> nn.Module:
    """Add a teacher, at first a copy of the weights."""
    teacher = nn.Module()
    for name, parameter in model.named_parameters():
        teacher.register_buffer(name.replace(".", "/"), parameter.detach().clone())
    model.add_module(NAME, teacher)
    return model


@torch.no_grad()
def update_teacher(model: nn.Module, decay: float) -> None:
    """θ' = decay θ' + (1 - decay) θ."""
    averaged = [weight for _, weight in _weights(model)]
    get_ema_multi_avg_fn(decay)(averaged, list(model.parameters()), 1)


@torch.no_grad()
def teacher_logits(model: nn.Module, x: Inputs) -> Logits:
    """The teacher's logits in the network's mode; no BatchNorm records the pass."""
    with frozen_statistics(model), uncompiled(model, "passes of the teacher"):
        return functional_call(model, dict(_weights(model)), (x,))


def _weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, weight in model.get_submodule(NAME).named_buffers():
        yield name.replace("/", "."), weight
