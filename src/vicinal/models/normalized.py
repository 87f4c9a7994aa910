"""Normalisation as a network's first layer, so that everything outside is in [0, 1]."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Normalize(nn.Module):
    """(x - mean) / std, with one mean and std per channel of an image or entry of a vector."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise ValueError(f"mean and std must be equally long, got {len(mean)} and {len(std)}")
        if min(std) <= 0:
            raise ValueError(f"std must be positive, got {tuple(std)}")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.get_default_dtype()))
        self.register_buffer("std", torch.tensor(std, dtype=torch.get_default_dtype()))

    def forward(self, x: Float[Tensor, "n c ..."]) -> Float[Tensor, "n c ..."]:
        """The same samples on the network's scale."""
        if x.shape[1] != len(self.mean):
            raise ValueError(
                f"mean must have one value per channel, got {len(self.mean)} for {x.shape[1]}"
            )
        per_channel = (-1, *[1] * (x.ndim - 2))
        return (x - self.mean.view(per_channel)) / self.std.view(per_channel)


class Normalized(nn.Module):
    """`body` behind Normalize; its logits are at least float32, even under autocast.

    It has stages if the body names its own.
    """

    stages: tuple[str, ...]

    def __init__(self, body: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.body = body
        stages = getattr(body, "stages", None)
        if isinstance(stages, tuple):  # elsewhere `stages` may be layers
            self.stages = tuple(f"body.{stage}" for stage in stages)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Logits; float64 stays float64."""
        logits = self.body(self.normalize(x))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))
