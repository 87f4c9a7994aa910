"""An exponential average of a network's weights, which is what is evaluated where one is kept."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """w' = decay w' + (1 - decay) w after every step, from the weights after the first one on.

    As torch's AveragedModel, without a correction for its start, so that a run should last many
    times 1 / (1 - decay) steps; but it counts nothing on the device and copies nothing to it, so
    that no step waits. Buffers (BatchNorm's statistics) are the network's own.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.network, self.decay = deepcopy(model).requires_grad_(False), decay

    @torch.no_grad()
    def update(self, model: nn.Module, *, first: bool) -> None:
        """After a step, the run's first or another."""
        averaged: list[Tensor] = [*self.network.parameters()]
        weights: list[Tensor] = [*model.parameters()]
        if first:
            _copy(averaged, weights)
        else:
            get_ema_multi_avg_fn(self.decay)(averaged, weights, 1)
        _copy(list(self.network.buffers()), list(model.buffers()))


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    if targets:
        torch._foreach_copy_(targets, sources)  # pyright: ignore[reportPrivateImportUsage]
