"""Pillow's affine transforms by the nearest pixel, black outside, and torchvision's matrices.

A matrix sends the centre of a pixel to its source. Pillow finds sources in 16.16 fixed point, or,
if the matrix only scales and shifts, by adding up float64 steps. Both are repeated to the last bit,
as far as sources lie within 32,768 pixels (Pillow 6.2 and 12, libImaging/Geometry.c).
"""

import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

Amounts = Float64[Tensor, " n"]
Matrices = Float64[Tensor, "n 2 3"]
ONE = 1 << 16  # in fixed point


def inverses(
    degrees: Amounts,
    shear: Amounts,
    scale: float,
    shift: Float64[Tensor, "n 2"],
    centre: tuple[float, float],
    *,
    flattened: bool = False,
) -> Matrices:
    """From destination to source: sheared along x, scaled, turned clockwise, shifted by (x, y).

    As torchvision's RandomAffine, whose shear until 0.4 also `flattened` the image by cos(shear).
    """
    turn, slant = degrees.deg2rad(), shear.deg2rad()
    height = slant.cos()
    across = torch.stack([(turn + slant).cos(), (turn + slant).sin()], dim=1) / height[:, None]
    down = torch.stack([-turn.sin(), turn.cos()], dim=1)
    if flattened:
        down = down / height[:, None]
    linear = torch.stack([across, down], dim=1) / scale
    middle = torch.tensor(centre, dtype=torch.float64)
    start = linear * (-middle - shift)[:, None]
    return torch.cat([linear, (start[..., :1] + start[..., 1:]) + middle[:, None]], dim=2)


def nearest(x: Shaped[Tensor, "n c h w"], matrices: Matrices) -> Shaped[Tensor, "n c h w"]:
    """Each pixel copied from its source; the matrices are on the CPU, so all devices agree."""
    height, width = x.shape[2:]
    columns, rows = _sources(matrices, height, width, x.device).unbind(1)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    places = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    moved = x.flatten(2).gather(2, places.flatten(1)[:, None].expand(-1, x.shape[1], -1))
    return moved.view(x.shape).masked_fill_(~inside[:, None], 0)


def _sources(
    matrices: Matrices, height: int, width: int, device: torch.device
) -> Int64[Tensor, "n 2 h w"]:
    """The column and the row of each pixel's source."""
    firsts = matrices[..., 2] + matrices[..., 0] * 0.5 + matrices[..., 1] * 0.5
    steps = torch.cat([matrices[..., :2], firsts[..., None]], dim=2)
    fixed = (steps * ONE + 0.5).floor().long().to(device, non_blocking=True)[..., None, None]
    across, down, first = fixed.unbind(2)
    column, row = (torch.arange(size, device=device) for size in (width, height))
    sources = (across * column + down * row[:, None] + first) >> 16
    upright = (matrices[:, 0, 1] == 0) & (matrices[:, 1, 0] == 0)
    columns = _added_up(firsts[:, 0], matrices[:, 0, 0], width).to(device, non_blocking=True)
    rows = _added_up(firsts[:, 1], matrices[:, 1, 1], height).to(device, non_blocking=True)
    added = torch.stack(torch.broadcast_tensors(columns[:, None], rows[..., None]), dim=1)
    return torch.where(upright.to(device, non_blocking=True).view(-1, 1, 1, 1), added, sources)


def _added_up(first: Amounts, step: Amounts, size: int) -> Int64[Tensor, "n size"]:
    """first, first + step, first + step + step, ..., with the rounding of each sum."""
    steps = step[:, None].repeat(1, size)
    steps[:, 0] = first
    return steps.cumsum(1).floor().long()
