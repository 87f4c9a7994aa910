"""Enlarging the middle of images, as SciPy's linear zoom does."""

from math import ceil

import torch
from jaxtyping import Float, Int64
from torch import Tensor

Layers = Float[Tensor, "h w m"]


def zoomed(layers: Layers, factor: float) -> Layers:
    """The middle part of each layer, enlarged to the size of the whole.

    The layers come last, so that rows and columns move as blocks.
    """
    for axis in (0, 1):
        low, high, share = _sources(layers.shape[axis], factor)
        low, high, share = (each.to(layers.device) for each in (low, high, share))
        share = share.to(layers.dtype).view(-1, *[1] * (2 - axis))
        first, second = (layers.index_select(axis, places) for places in (low, high))
        layers = first.lerp_(second, share)  # which keeps a flat region flat
    return layers


def _sources(
    size: int, factor: float
) -> tuple[Int64[Tensor, " s"], Int64[Tensor, " s"], Float[Tensor, " s"]]:
    """The two pixels between which each pixel along an axis lies, and the share of the second.

    The outermost pixels of the middle part stay outermost, then whole pixels are trimmed.
    """
    part = ceil(size / factor)
    first, enlarged = (size - part) // 2, round(part * factor)
    trimmed = (enlarged - size) // 2
    step = (part - 1) / (enlarged - 1) if enlarged > 1 else 0.0
    places = (trimmed + torch.arange(size, dtype=torch.float64)) * step
    low = places.floor().clamp_max(part - 1)
    high = (low + 1).clamp_max(part - 1)
    return (first + low).long(), (first + high).long(), places - low
