"""Which images an attack may return: how far from the image, in which units, clipped to what.

The readings that the papers leave open are named options:

    units   pixels            ε as a difference of pixel values from 0 to 1
            normalized        ε on the scale of the network's first layer, (x - mean) / std
    clip    pixels            to [0, 1]
            none              not at all, as if the attack never saw an image file
            normalized        normalised values to [0, 1], as code written for unnormalised images
                              does; it changes even the clean image
            batches_of_100    normalised values to the range of those of 100 images in a row
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vicinal.contracts import Images, PerSample
from vicinal.draws import Draws
from vicinal.errors import RunError
from vicinal.models.normalized import Normalize

Norm = Literal["linf", "l2"]
Units = Literal["pixels", "normalized"]
Clip = Literal["pixels", "none", "normalized", "batches_of_100"]


@dataclass(frozen=True)
class Threat:
    """The ε-ball of a norm, and the range that images are clipped to."""

    epsilon: float | None  # null: no bound
    norm: Norm = "linf"
    units: Units = "pixels"
    clip: Clip = "pixels"

    def __post_init__(self) -> None:
        if self.epsilon is not None and not self.epsilon >= 0:
            raise ValueError(f"epsilon must be at least 0, got {self.epsilon}")

    def check_bounded(self, reason: str) -> None:
        """Refuse a ball without a bound."""
        if self.epsilon in (None, inf):
            raise ValueError(f"threat.epsilon must be finite, got {self.epsilon} ({reason})")

    def around(self, model: nn.Module, x: Images) -> "Region":
        """The images that are allowed around each of `x`."""
        needed = self.units == "normalized" or self.clip in ("normalized", "batches_of_100")
        mean, std = _normalization(model) if needed else (0.0, 1.0)
        scale = std if self.units == "normalized" else 1.0
        low, high = _limits(self.clip, x, mean, std)
        epsilon = inf if self.epsilon is None else self.epsilon
        return Region(x.detach(), epsilon, self.norm, scale, low, high)


class Region(NamedTuple):
    """The ball around each image of a batch, and the range of its pixels, all in pixel values."""

    x: Images
    epsilon: float
    norm: Norm
    scale: Tensor | float  # pixel values of one unit of ε, per channel
    low: Tensor | float
    high: Tensor | float

    def project(self, moved: Images) -> Images:
        """The nearest images of the ball, then clipped: out of it only by clip=normalized."""
        if self.norm == "linf":
            reach = self.epsilon * self.scale
            return self.clipped(torch.clamp(moved, self.x - reach, self.x + reach))
        shift = moved - self.x
        lengths = _per_image(self.distance(moved))
        shrunk = torch.where(lengths > self.epsilon, self.epsilon / lengths, 1.0) * shift
        return self.clipped(self.x + shrunk)

    def clipped(self, moved: Images) -> Images:
        """The images with all pixels in range."""
        return torch.clamp(moved, self.low, self.high)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def distance(self, moved: Images) -> PerSample:
        """How far each image was moved, in the units of ε."""
        shift = ((moved - self.x) / self.scale).flatten(1)
        return shift.abs().amax(1) if self.norm == "linf" else shift.norm(dim=1)

    def steepest(self, gradient: Images) -> Images:
        """The shift of length 1 along which the loss rises most; 0 where there is no gradient."""
        if self.norm == "linf":
            return self.scale * gradient.sign()
        rise = gradient * self.scale
        lengths = _per_image(rise.flatten(1).norm(dim=1))
        return self.scale * torch.where(lengths > 0, rise / lengths, 0.0)

    def start(self, rng: Draws) -> Images:
        """A uniform draw from the ball, projected."""
        if self.norm == "linf":
            shift = self.epsilon * (2 * rng.uniform_like(self.x) - 1)
            return self.project(self.x + self.scale * shift)
        direction = rng.normal_like(self.x)
        direction = direction / _per_image(direction.flatten(1).norm(dim=1))
        share = rng.uniform_like(self.x[:, :1, :1, :1]) ** (1 / self.x[0].numel())
        return self.project(self.x + self.epsilon * share * self.scale * direction)


def _per_image(values: PerSample) -> Float[Tensor, "n 1 1 1"]:
    return values.view(-1, 1, 1, 1)


def _normalization(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Mean and std of the network's first layer, per channel."""
    found: Iterator[Normalize] = (m for m in model.modules() if isinstance(m, Normalize))
    layer = next(found, None)
    if layer is None:
        raise RunError("units and clip must be pixels for a network that does not normalise")
    return layer.mean.view(-1, 1, 1), layer.std.view(-1, 1, 1)


def _limits(
    clip: Clip, x: Images, mean: Tensor | float, std: Tensor | float
) -> tuple[Tensor | float, Tensor | float]:
    """The lowest and the highest pixel values."""
    if clip == "pixels":
        return 0.0, 1.0
    if clip == "none":
        return -inf, inf
    if clip == "normalized":
        return mean, mean + std
    groups = [group.aminmax() for group in ((x - mean) / std).split(100)]
    lows, highs = (
        torch.stack(limits).repeat_interleave(100)[: len(x)].view(-1, 1, 1, 1)
        for limits in zip(*groups, strict=True)
    )
    return mean + std * lows, mean + std * highs
