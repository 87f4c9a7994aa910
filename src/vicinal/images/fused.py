"""AugMix's nine operators as four, for devices where a launch costs more than its computation.

Posterize and solarize map values in the same way in every image, so one look-up serves both; the
five geometric operators say where pixels come from, so one resampling by a matrix per image serves
all. The results equal the single operators' byte for byte. On a CPU those of operators.py are
faster: launches are cheap there, and each operator does only its own work.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int64, Shaped, UInt8
from torch import Tensor
from torch.nn import functional as F

from vicinal.images.geometry import quantized, rotations
from vicinal.images.operators import (
    OPERATORS,
    Operator,
    Pixels,
    autocontrast,
    degrees,
    equalize,
    first_inverted,
    lost_bits,
    pixels_moved,
    posterize,
    rotate,
    shear_x,
    shear_y,
    slopes,
    solarize,
    translate_x,
    translate_y,
)

Kinds = Int64[Tensor, "n d"]  # positions in a family; any number for operators of others
Numbers = Shaped[Tensor, "n d ..."]


class Family(NamedTuple):
    """Operators applied together: `numbers` for all draws at once, and `apply` for one step.

    The numbers are on the CPU; `apply` sends what it needs.
    """

    members: tuple[Operator, ...]
    numbers: Callable[[Kinds, Float64[Tensor, "n d"], tuple[int, int], float], Numbers]
    apply: Callable[[Pixels, Tensor, float], Pixels]


def families(device: torch.device) -> Sequence[Family]:
    """All operators, in the grouping that is fastest on a device."""
    return SINGLE if device.type == "cpu" else FUSED


def look_ups(
    kinds: Kinds, levels: Float64[Tensor, "n d"], size: tuple[int, int], reach: float
) -> Int64[Tensor, "n d"]:
    """The rows of `_look_ups` for the draws; kinds: posterize, solarize."""
    return torch.where(kinds == 0, lost_bits(levels), 9 + first_inverted(levels)).long()


def recoloured(x: Pixels, rows: Int64[Tensor, " n"], reach: float) -> Pixels:
    """Posterized or solarized."""
    lut = _look_ups(x.device).index_select(0, rows.to(x.device, non_blocking=True))
    return lut.gather(1, x.flatten(1).long()).view_as(x)


@lru_cache(maxsize=4)
def _look_ups(device: torch.device) -> UInt8[Tensor, "266 256"]:
    """Every value without its lowest 0 .. 8 bits, then inverted from 0 .. 256 up."""
    values, bits, first = torch.arange(256), torch.arange(9)[:, None], torch.arange(257)[:, None]
    kept = values & (256 - 2**bits)
    inverted = torch.where(values >= first, 255 - values, values)
    return torch.cat([kept, inverted]).to(torch.uint8).to(device, non_blocking=True)


def matrices(
    kinds: Kinds, levels: Float64[Tensor, "n d"], size: tuple[int, int], reach: float
) -> Float64[Tensor, "n d 2 3"]:
    """From a pixel's centre to its source's; rotate, shear_x, shear_y, translate_x, translate_y."""
    height, width = size
    most = int(reach * 30 / 10)
    turned = rotations(height, width, most)[degrees(levels).long() + most]
    slope, right, below = slopes(levels), *(pixels_moved(levels, side) for side in (width, height))
    amounts = zip((1, 3, 2, 4), (slope, right, slope, below), strict=True)
    along, right, down, below = (torch.where(kinds == kind, by, 0.0) for kind, by in amounts)
    one = torch.ones_like(levels)
    straight = torch.stack([one, along, right, down, one, below], dim=2).unflatten(2, (2, 3))
    return torch.where((kinds == 0)[..., None, None], turned, straight)


def resampled(x: Pixels, matrix: Float64[Tensor, "n 2 3"], reach: float) -> Pixels:
    """Pixels taken from where the matrices say, as in Pillow's general affine transform."""
    count, channels, height, width = x.shape
    matrix = matrix.to(x.device, non_blocking=True)
    a, b, c = matrix[..., None, None].unbind(2)
    grid = _grid(height, width, x.device)
    source = a * grid.columns
    source = source + b * grid.rows
    source += c  # in the order of Pillow's C
    inside = ((source >= 0) & (source < grid.size)).all(dim=1, keepdim=True)
    source -= 0.5
    corner = source.floor()  # left and top
    across, down = source.sub_(corner)[:, :, None].flatten(3)[..., None].unbind(1)
    left, top = corner.clamp_(grid.least, grid.most).flatten(2).unbind(1)
    places = top.mul_(width + 2).add_(left).add_(width + 3).long()
    padded = F.pad(x.double(), (1, 1, 1, 1), mode="replicate")
    # A view of each place's square of four pixels, right and down; the last places have none.
    last = (height + 2) * (width + 2) - (width + 3)
    plane, image = padded.stride(1), padded.stride(0)
    squares = padded.as_strided((count, channels, last, 2, 2), (image, plane, 1, width + 2, 1))
    found = squares.gather(2, places[:, None, :, None, None].expand(-1, channels, -1, 2, 2))
    rows = found[..., 0].lerp(found[..., 1], across)
    between = rows[..., 0].lerp(rows[..., 1], down[..., 0])
    return torch.where(inside, quantized(between).view_as(x), 0)


class _Grid(NamedTuple):
    """Centres of pixels; for x and y, the image's size and its range of corners."""

    columns: Float64[Tensor, "1 w"]
    rows: Float64[Tensor, "h 1"]
    size: Float64[Tensor, "2 1 1"]
    least: Float64[Tensor, "2 1 1"]
    most: Float64[Tensor, "2 1 1"]


@lru_cache(maxsize=4)
def _grid(height: int, width: int, device: torch.device) -> _Grid:
    columns, rows = (torch.arange(side, dtype=torch.float64) + 0.5 for side in (width, height))
    size = torch.tensor([width, height], dtype=torch.float64).view(2, 1, 1)
    parts = columns[None], rows[:, None], size, torch.full_like(size, -1), size - 1
    return _Grid(*(part.to(device, non_blocking=True) for part in parts))


def _levels(
    kinds: Kinds, levels: Float64[Tensor, "n d"], size: tuple[int, int], reach: float
) -> Float64[Tensor, "n d"]:
    return levels


SINGLE = tuple(Family((operator,), _levels, operator) for operator in OPERATORS)
FUSED = (
    Family((autocontrast,), _levels, autocontrast),
    Family((equalize,), _levels, equalize),
    Family((posterize, solarize), look_ups, recoloured),
    Family((rotate, shear_x, shear_y, translate_x, translate_y), matrices, resampled),
)
