"""Pillow's affine transforms of 8-bit images: bilinear, black outside, truncated to integers.

A pixel's centre lies half a pixel from its corner. If a source lies within half a pixel of the
border, Pillow repeats the border's pixel; outside the border it is black.
"""

from functools import lru_cache
from math import ceil, cos, radians, sin

import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

Pixels = UInt8[Tensor, "n c h w"]
Amounts = Float64[Tensor, " n"]


def quantized(values: Float[Tensor, "..."]) -> UInt8[Tensor, "..."]:
    """Truncated to bytes; on a CPU by way of int32, which takes half the time."""
    if values.device.type == "cpu":
        values = values.to(torch.int32)
    return values.to(torch.uint8)


def translated(x: Pixels, pixels: Amounts, reach: int) -> Pixels:
    """Each pixel taken from `pixels` to its right; `reach` bounds that number."""
    channels, height, width = x.shape[1:]
    starts = (pixels.long() + reach).repeat_interleave(channels * height)
    rows = F.pad(x, (reach, reach)).view(-1, width + 2 * reach)
    return _windows(rows, starts, width).view(x.shape)


def sheared(x: Pixels, slopes: Amounts, reach: float) -> Pixels:
    """Each row taken from the right, by the slope times its depth; `reach` bounds the slopes.

    A row has one fraction of a pixel: rows are interpolated first, then moved by whole pixels.
    """
    channels, height, width = x.shape[1:]
    centres = torch.arange(height, dtype=torch.float64, device=x.device) + 0.5
    shifts = slopes[:, None] * centres
    whole = shifts.floor()
    part = (shifts - whole)[:, None, :, None]
    values = torch.cat([x[..., :1], x, x[..., -1:]], dim=3).double()
    left, right = values[..., :-1], values[..., 1:]
    between = quantized(left.lerp(right, part))  # from -1 to w - 1 pixels
    between[..., :1] *= part >= 0.5
    between[..., -1:] *= part < 0.5
    most = ceil(reach * height) + 1
    starts = (whole.long() + (1 + most))[:, None].expand(-1, channels, -1)
    rows = F.pad(between, (most, most)).view(-1, width + 1 + 2 * most)
    return _windows(rows, starts.flatten(), width).view(x.shape)


def rotated(x: Pixels, degrees: Amounts, reach: int) -> Pixels:
    """Rotated counter-clockwise about the centre by whole degrees; `reach` bounds them."""
    height, width = x.shape[2:]
    angles = degrees.long() + reach
    table = _sources(height, width, reach, x.device)
    places, across, down, inside = (of.index_select(0, angles)[:, None] for of in table)
    planes = F.pad(x.double(), (1, 1, 1, 1), mode="replicate").flatten(2)
    places = places.expand(-1, x.shape[1], -1)
    right, below = 1, width + 2

    def pixels(step: int) -> Float64[Tensor, "n c p"]:
        return planes[..., step:].gather(2, places)

    upper = pixels(0).lerp_(pixels(right), across)
    lower = pixels(below).lerp_(pixels(below + right), across)
    return quantized(upper.lerp_(lower, down)).mul_(inside).view(x.shape)


@lru_cache(maxsize=4)
def _sources(
    height: int, width: int, reach: int, device: torch.device
) -> tuple[
    Int64[Tensor, "a p"], Float64[Tensor, "a p"], Float64[Tensor, "a p"], UInt8[Tensor, "a p"]
]:
    """The source of each pixel, for each angle from -reach to reach.

    These are the place of its upper left neighbour in the image padded by one pixel, the fractions
    of a pixel to the right and down from there, and whether it lies inside the image.
    """
    table = rotations(height, width, reach).flatten(1)
    matrix = table.to(device, non_blocking=True)[..., None, None].unbind(1)
    rows, columns = (torch.arange(s, device=device).double() + 0.5 for s in (height, width))
    x = (matrix[0] * columns + matrix[1] * rows[:, None]) + matrix[2]
    y = (matrix[3] * columns + matrix[4] * rows[:, None]) + matrix[5]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    left, top = ((s - 0.5).floor() for s in (x, y))
    places = (top.clamp(-1, height - 1) + 1) * (width + 2) + left.clamp(-1, width - 1) + 1
    found = places.long(), (x - 0.5) - left, (y - 0.5) - top, inside.to(torch.uint8)
    return tuple(each.flatten(1) for each in found)  # pyright: ignore[reportReturnType]


@lru_cache(maxsize=4)
def rotations(height: int, width: int, reach: int) -> Float64[Tensor, "a 2 3"]:
    """The matrices of all angles from -reach to reach, on the CPU."""
    angles = range(-reach, reach + 1)
    matrices = [_rotation(angle, height, width) for angle in angles]
    return torch.tensor(matrices, dtype=torch.float64).view(-1, 2, 3)


def _rotation(degrees: int, height: int, width: int) -> list[float]:
    """Image.rotate's matrix from destination to source, with its rounding."""
    angle = -radians(degrees % 360.0)
    c, s = round(cos(angle), 15), round(sin(angle), 15)
    x, y = width / 2, height / 2
    return [c, s, c * -x + s * -y + x, -s, c, -s * -x + c * -y + y]


def _windows(
    rows: UInt8[Tensor, "m l"], starts: Int64[Tensor, " m"], length: int
) -> UInt8[Tensor, "m length"]:
    """`length` consecutive bytes of each row, copied in one piece from an overlapping view."""
    total = rows.numel()
    firsts = torch.arange(0, total, rows.shape[1], device=rows.device)
    views = rows.as_strided((total - length + 1, length), (1, 1))
    return views.index_select(0, starts + firsts)
