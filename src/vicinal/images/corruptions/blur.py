"""Blur: defocus, glass, motion, zoom and Gaussian."""

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from vicinal.draws import Rng
from vicinal.images.corruptions.filters import (
    convolved,
    disk,
    gaussian_blurred,
    in_bytes,
    motion_blurred,
)
from vicinal.images.corruptions.severities import Constants
from vicinal.images.corruptions.zooming import zoomed

Pixels = UInt8[Tensor, "n 3 h w"]
Moves = Int64[Tensor, "n h w"]


def gaussian_blur(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """A Gaussian filter."""
    (deviation,) = constants
    return in_bytes(gaussian_blurred(x.double().div_(255), deviation))


def defocus_blur(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """The mean over a disk."""
    radius, softening = constants
    return in_bytes(convolved(x.double().div_(255), disk(radius, softening)))


def motion_blur(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """The mean along a line, at an angle of up to 45 degrees from the horizontal."""
    radius, deviation = constants
    degrees = torch.rand(len(x), generator=rng.cpu, dtype=torch.float64) * 90 - 45
    return motion_blurred(x, radius, deviation, degrees)


def zoom_blur(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """The mean of the image and of enlargements of its middle, summed in single precision."""
    end, step = constants
    factors = np.arange(1, end, step).tolist()
    layers = x.flatten(0, 1).permute(1, 2, 0).float().div_(255).contiguous()
    exact, total = layers.double(), torch.zeros_like(layers)
    for factor in factors:
        total += zoomed(exact, factor).float()
    mean = total.add_(layers).div_(len(factors) + 1)
    return in_bytes(mean).permute(2, 0, 1).reshape(x.shape)


def glass_blur(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """Pixels displaced at random between two Gaussian filters."""
    deviation, reach, passes = constants
    glazed = in_bytes(gaussian_blurred(x.double().div_(255), deviation))
    count, _, height, width = x.shape
    for _ in range(int(passes)):
        shape, limit = (count, 2, height, width), int(reach)
        moves = torch.randint(-limit, limit, shape, generator=rng.device, device=x.device)
        right, down = moves.unbind(1)
        glazed = displaced(glazed, right, down, limit)
    return in_bytes(gaussian_blurred(glazed.double().div_(255), deviation))


def displaced(x: Pixels, right: Moves, down: Moves, reach: int) -> Pixels:
    """Each pixel copied from one nearby, one after another, from the lower right to the upper left.

    The original means to swap the two, but its rows are views, so both end as the neighbour. Its
    displacements go from -reach to reach - 1, and pixels near the border stay.
    """
    height, width = x.shape[2:]
    rows = torch.arange(height, device=x.device)[:, None]
    columns = torch.arange(width, device=x.device)
    moving = (rows > reach) & (rows <= height - reach)
    moving = moving & (columns > reach) & (columns <= width - reach)
    here = rows * width + columns
    source = torch.where(moving, here + down * width + right, here).flatten(1)
    # A source that was overwritten before holds what its own source held. Chains of these are
    # short, because most displacements go to the upper left; each round doubles the steps taken.
    changed = moving.flatten().expand_as(source)
    later = (source > here.flatten()) & changed.gather(1, source)
    while later.any():
        further = source.gather(1, source)
        later_still = later & later.gather(1, source)
        source = torch.where(later, further, source)
        later = later_still
    return x.flatten(2).gather(2, source[:, None].expand(-1, 3, -1)).view(x.shape)
