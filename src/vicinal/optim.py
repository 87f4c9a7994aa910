"""torch's optimizers, with what the papers vary: where decay applies, clipping, averaging."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Optimizer(ABC):
    """The settings that SGD, Adam and AdamW share. The schedule scales `lr`."""

    lr: float
    weight_decay: float = 0.0
    decay_norms: bool = True  # False spares one-dimensional weights (norms, biases), as in timm
    clip_norm: float | None = None  # the gradient's largest L2 norm
    ema_decay: float | None = None  # evaluate an exponential average of the weights
    mean_from: float | None = None  # or their plain mean, from this share of the run on

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError(f"clip_norm must be above 0, got {self.clip_norm} (null: no clipping)")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must be between 0 and 1, got {self.ema_decay}")
        if self.mean_from is not None and not 0 <= self.mean_from < 1:
            raise ValueError(f"mean_from must be at least 0 and below 1, got {self.mean_from}")
        if self.mean_from is not None and self.ema_decay is not None:
            raise ValueError(
                f"mean_from and ema_decay cannot both be set, got {self.mean_from} and "
                f"{self.ema_decay} (they average the same weights)"
            )

    def averages(self, epoch: int, epochs: int) -> bool:
        """Whether weights are averaged in this epoch of a run."""
        if self.mean_from is not None:
            return epoch >= round(self.mean_from * epochs)
        return self.ema_decay is not None

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The trained parameters, in one group or, if norms are spared, two."""
        trained = [p for p in model.parameters() if p.requires_grad]
        least = 0 if self.decay_norms else 2  # dimensions of decayed parameters
        decayed = {"params": [p for p in trained if p.ndim >= least]}
        rest = {"params": [p for p in trained if p.ndim < least], "weight_decay": 0.0}
        return [group for group in (decayed, rest) if group["params"]]

    @abstractmethod
    def __call__(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer over the model's trained parameters."""

    def fused(
        self, rule: Callable[..., torch.optim.Optimizer], model: nn.Module, **settings: Any
    ) -> torch.optim.Optimizer:
        """One of torch's, with the shared settings and these: one kernel per step, on CPUs too."""
        shared = {"lr": self.lr, "weight_decay": self.weight_decay, "fused": True}
        return rule(self.groups(model), **shared, **settings)


@dataclass(frozen=True, kw_only=True)
class Sgd(Optimizer):
    """SGD with momentum, as in every CIFAR and ImageNet table of the five papers."""

    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov must be false without momentum, got true (momentum is 0)")

    def __call__(self, model: nn.Module) -> torch.optim.Optimizer:
        return self.fused(torch.optim.SGD, model, momentum=self.momentum, nesterov=self.nesterov)


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam, with the decay added to the gradient."""

    betas: Sequence[float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers in [0, 1), got {list(self.betas)}")
        if self.eps <= 0:
            raise ValueError(f"eps must be above 0, got {self.eps}")

    def __call__(self, model: nn.Module) -> torch.optim.Optimizer:
        return self.fused(torch.optim.Adam, model, betas=tuple(self.betas), eps=self.eps)


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Adam, with the decay applied to the weights."""

    def __call__(self, model: nn.Module) -> torch.optim.Optimizer:
        return self.fused(torch.optim.AdamW, model, betas=tuple(self.betas), eps=self.eps)


@torch.no_grad()
def lay_out_like_weights(optimizer: torch.optim.Optimizer) -> None:
    """Give a loaded state the memory layout of its weights.

    Fused kernels pair a weight with its momentum by position in memory: with another layout they
    silently mix values up on a CPU, and refuse on CUDA.
    """
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


class Average:
    """An average of a network's weights, which is evaluated in their place.

    With a decay it is exponential: w' = decay w' + (1 - decay) w after every step, starting from
    the weights after the first one. Like torch's AveragedModel it has no correction for its start,
    so a run should last many times 1 / (1 - decay) steps. Without one it is the mean of the weights
    after each step, as in averaged SGD. Unlike torch's it counts nothing on the device and copies
    nothing there, so no step waits. Buffers (BatchNorm's statistics) are the network's own.
    """

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.network, self.decay = deepcopy(model).requires_grad_(False), decay
        self.count = 0  # of averaged steps

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        self.count += 1
        averaged: list[Tensor] = [*self.network.parameters()]
        weights: list[Tensor] = [*model.parameters()]
        if self.count == 1:
            _copy(averaged, weights)
        else:
            share = 1 / self.count if self.decay is None else 1 - self.decay
            torch._foreach_lerp_(averaged, weights, share)  # pyright: ignore[reportPrivateImportUsage]
        _copy(list(self.network.buffers()), list(model.buffers()))


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    if targets:
        torch._foreach_copy_(targets, sources)  # pyright: ignore[reportPrivateImportUsage]


def num_trained(model: nn.Module) -> int:
    """How many numbers of a network are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
