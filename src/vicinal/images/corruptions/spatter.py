"""Spatter: drops of water with bright edges, or patches of mud.

The water goes through several of OpenCV's filters for bytes, which are followed step by step.
"""

import torch
from jaxtyping import Bool, Float, Int32, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

from vicinal.draws import Rng
from vicinal.images.corruptions.filters import gaussian_blurred, in_bytes
from vicinal.images.corruptions.severities import Constants
from vicinal.images.geometry import quantized

Pixels = UInt8[Tensor, "n 3 h w"]
Grey = UInt8[Tensor, "n h w"]
Counts = Int64[Tensor, "n h w"]
Mask = Bool[Tensor, "n h w"]

WATER = 175 / 255, 238 / 255, 238 / 255
MUD = 63 / 255, 42 / 255, 20 / 255
FARTHEST = 20.0
# Steps of the 5 x 5 distance: to the sides, to the corners, and as a knight moves.
STEPS = {
    **dict.fromkeys([(0, 1), (0, -1), (1, 0), (-1, 0)], 1.0),
    **dict.fromkeys([(1, 1), (1, -1), (-1, 1), (-1, -1)], 1.4),
    **dict.fromkeys([(1, 2), (1, -2), (-1, 2), (-1, -2)], 2.1969),
    **dict.fromkeys([(2, 1), (2, -1), (-2, 1), (-2, -1)], 2.1969),
}


def spatter(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """Water at severities 1 to 3, mud at 4 and 5."""
    shape = len(x), *x.shape[2:]
    return spattered(x, torch.randn(shape, generator=rng.device, device=x.device), constants)


def spattered(x: Pixels, noise: Float[Tensor, "n h w"], constants: Constants) -> Pixels:
    """With drops made of this standard normal noise."""
    mean, deviation, blur, threshold, strength, muddy = constants
    liquid = gaussian_blurred((noise.double() * deviation + mean)[:, None], blur)
    liquid = liquid.masked_fill(liquid < threshold, 0)
    image = x.float().div_(255)
    if muddy:
        cover = gaussian_blurred((liquid > threshold).double(), strength).float()
        cover = cover.masked_fill(cover < 0.8, 0)
        return in_bytes(image.mul_(1 - cover).add_(_coloured(cover, MUD)))
    grey = quantized(liquid * 255)[:, 0]
    depth = grey.float() * _relief(edges(grey)).float()
    # The original divides by 0 where there is no water; here such an image stays as it is.
    depth /= depth.amax(dim=(1, 2), keepdim=True).clamp_min(1)
    return in_bytes(image.add_(_coloured((depth * strength)[:, None], WATER)))


def _coloured(
    cover: Float[Tensor, "n 1 h w"], colour: tuple[float, ...]
) -> Float[Tensor, "n 3 h w"]:
    return cover * torch.tensor(colour, device=cover.device).view(1, 3, 1, 1)


def _relief(edge: Mask) -> Grey:
    """How much light each pixel gets from the slope towards the nearest edge."""
    far = distances(edge)
    slope = equalized(quantized(_sum3(far).div_(9)))
    kernel = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
    padded = _padded(slope.long())
    height, width = slope.shape[1:]
    lit = torch.zeros_like(slope, dtype=torch.int64)
    for row, weights in enumerate(kernel):
        for column, weight in enumerate(weights):
            lit += weight * padded[:, row : row + height, column : column + width]
    return _sum3(lit.clamp_(0, 255).double()).div_(9).round_().to(torch.uint8)


def _padded(x: Tensor) -> Tensor:
    """By one pixel, mirrored without repeating the edge."""
    values = F.pad(x.double()[:, None], (1, 1, 1, 1), mode="reflect")
    return values[:, 0].to(x.dtype)


def _sum3(x: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Of the 3 x 3 pixels around each."""
    rows = _padded(x).unfold(1, 3, 1).sum(dim=3)
    return rows.unfold(2, 3, 1).sum(dim=3)


def edges(grey: Grey, low: int = 50, high: int = 150) -> Mask:
    """Canny's edges as OpenCV finds them, with gradients measured by |dx| + |dy|."""
    padded = F.pad(grey.float()[:, None], (1, 1, 1, 1), mode="replicate")[:, 0].int()
    down = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    right = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    dx, dy = down[..., 2:] - down[..., :-2], right[:, 2:] - right[:, :-2]
    size = dx.abs() + dy.abs()
    thin = _ridges(size, dx, dy) & (size > low)
    found = thin & (size > high)
    while True:
        grown = F.max_pool2d(found.float(), 3, 1, 1).bool() & thin
        if torch.equal(grown, found):
            return found
        found = grown


def _ridges(size: Int32[Tensor, "n h w"], dx: Tensor, dy: Tensor) -> Mask:
    """Where the gradient exceeds its two neighbours in its own direction, in whole eighths.

    Of two equal ones along an axis the first counts.
    """
    height, width = size.shape[1:]
    padded = F.pad(size, (1, 1, 1, 1))

    def at(row: int, column: int) -> Tensor:
        return padded[:, 1 + row : 1 + row + height, 1 + column : 1 + column + width]

    across, up = dx.abs().long(), dy.abs().long() << 15
    tangent = across * 13573  # of 22.5 degrees, times 2 ** 15
    flat, steep = up < tangent, up > tangent + (across << 16)
    opposed = (dx ^ dy) < 0
    slanted = torch.where(
        opposed,
        (size > at(-1, 1)) & (size > at(1, -1)),
        (size > at(-1, -1)) & (size > at(1, 1)),
    )
    upright = (size > at(-1, 0)) & (size >= at(1, 0))
    level = (size > at(0, -1)) & (size >= at(0, 1))
    return torch.where(flat, level, torch.where(steep, upright, slanted))


def distances(edge: Mask) -> Float[Tensor, "n h w"]:
    """From each pixel to the nearest edge, at most 20 pixels, in steps of a 5 x 5 mask."""
    height, width = edge.shape[1:]
    found = (~edge).float() * FARTHEST
    for _ in range(int(FARTHEST)):
        padded, before = F.pad(found, (2, 2, 2, 2), value=FARTHEST), found
        for (row, column), cost in STEPS.items():
            rows = padded[:, 2 + row : 2 + row + height]
            found = torch.minimum(found, rows[..., 2 + column : 2 + column + width] + cost)
        if torch.equal(found, before):
            break
    return found


def equalized(grey: Grey) -> Grey:
    """Each image through its cumulative histogram, which starts above its darkest value."""
    values = grey.flatten(1).long()
    counts = torch.zeros((len(values), 256), dtype=torch.int64, device=grey.device)
    counts = counts.scatter_add_(1, values, torch.ones_like(values))
    darkest = values.amin(dim=1, keepdim=True)
    least = counts.gather(1, darkest)
    scale = 255 / (values.shape[1] - least).clamp_min(1).float()
    table = ((counts.cumsum(dim=1) - least).float() * scale).round_()
    table = torch.where(least == values.shape[1], darkest, table)
    return table.gather(1, values).view(grey.shape).to(torch.uint8)
