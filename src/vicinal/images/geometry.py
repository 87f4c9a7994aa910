"""Pillow's affine transforms of 8-bit images: bilinear, black outside, truncated to integers.

A pixel's centre lies half a pixel from its corner. If a source lies within half a pixel of the
border, Pillow repeats the border's pixel; outside the border it is black.
"""

from functools import lru_cache
from math import ceil, cos, radians, sin

import torch
from jaxtyping import Float, Float64, Int32, Int64, UInt8
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
    shares = _shares(part)
    values = torch.cat([x[..., :1], x, x[..., -1:]], dim=3).to(shares.dtype)
    left, right = values[..., :-1], values[..., 1:]
    most = ceil(reach * height) + 1
    rows = x.new_zeros((len(x), channels, height, width + 1 + 2 * most))
    between = rows[..., most:-most]  # from -1 to w - 1 pixels
    between.copy_(left.lerp(right, shares).to(torch.int16))
    between[..., :1] *= part >= 0.5
    between[..., -1:] *= part < 0.5
    starts = (whole.long() + (1 + most))[:, None].expand(-1, channels, -1)
    return _windows(rows.view(-1, rows.shape[3]), starts.flatten(), width).view(x.shape)


def _shares(part: Float64[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Shares p in float32 for which a + (b - a) p truncates for all bytes as `part`'s in float64.

    Truncation only depends on the two fractions with denominators to 255 that p lies between. In
    the middle of them no result is within 1 / 510 of an integer, unless a = b. At round levels p
    may be a fraction itself but for its last bits; then all stays in float64.
    """
    fractions = _fractions()
    above = torch.bucketize(part, fractions, right=True).clamp_max_(len(fractions) - 1)
    low, high = fractions[above - 1], fractions[above]
    if torch.minimum(part - low, high - part).min() < 1e-12:
        return part
    return ((low + high) / 2).float()


@lru_cache(maxsize=1)
def _fractions() -> Float64[Tensor, " f"]:
    """All fractions from 0 to 1 with denominators to 255, in order."""
    fractions = torch.arange(256.0, dtype=torch.float64) / torch.arange(1, 256)[:, None]
    return fractions[fractions <= 1].unique()


def rotated(x: Pixels, degrees: Amounts, reach: int) -> Pixels:
    """Rotated counter-clockwise about the centre by whole degrees; `reach` bounds them.

    One channel at a time: bytes are gathered, and few float64 values leave a CPU's cache.
    """
    count, channels, height, width = x.shape
    places, across, down = (
        of.index_select(0, degrees.long() + reach)
        for of in _sources(height, width, reach, x.device)
    )
    planes = F.pad(x.flatten(2), (0, width + 2))  # black
    firsts = torch.arange(count, dtype=torch.int32, device=x.device)[:, None] * planes.stride(0)
    places = places.add_(firsts).flatten()

    def pixels(channel: int, step: int) -> Float64[Tensor, "n p"]:
        values = planes.view(-1)[channel * planes.stride(1) + step :]
        return values.index_select(0, places).view(count, -1).double()

    turned = torch.empty_like(x.flatten(2))
    for channel in range(channels):
        upper = pixels(channel, 0).lerp_(pixels(channel, 1), across)
        lower = pixels(channel, width).lerp_(pixels(channel, width + 1), across)
        turned[:, channel] = quantized(upper.lerp_(lower, down))
    return turned.view(x.shape)


@lru_cache(maxsize=4)
def _sources(
    height: int, width: int, reach: int, device: torch.device
) -> tuple[Int32[Tensor, "a p"], Float64[Tensor, "a p"], Float64[Tensor, "a p"]]:
    """The source of each pixel, for each angle from -reach to reach.

    These are the place of its upper left neighbour and the fractions of a pixel to the right and
    down from there. Where a border's pixel is repeated the fraction is 0. Sources outside the image
    lie behind its last pixel, where `rotated` adds black ones.
    """
    table = rotations(height, width, reach).flatten(1)
    matrix = table.to(device, non_blocking=True)[..., None, None].unbind(1)
    rows, columns = (torch.arange(s, device=device).double() + 0.5 for s in (height, width))
    x = (matrix[0] * columns + matrix[1] * rows[:, None]) + matrix[2]
    y = (matrix[3] * columns + matrix[4] * rows[:, None]) + matrix[5]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    (left, across), (top, down) = (_split(s - 0.5, n) for s, n in ((x, width), (y, height)))
    places = torch.where(inside, top * width + left, height * width)
    found = places.to(torch.int32), across, down
    return tuple(each.flatten(1) for each in found)  # pyright: ignore[reportReturnType]


def _split(
    at: Float64[Tensor, "..."], size: int
) -> tuple[Float64[Tensor, "..."], Float64[Tensor, "..."]]:
    """The pixel at or before a place, and the fraction beyond; at the borders, the pixel there."""
    whole = at.floor()
    repeated = (whole < 0) | (whole >= size - 1)
    return whole.clamp(0, size - 1), torch.where(repeated, 0.0, at - whole)


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
