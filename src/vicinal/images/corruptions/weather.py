"""Weather: snow, frost, fog and brightness."""

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from vicinal.draws import Rng
from vicinal.images.corruptions.colours import hsv, rgb
from vicinal.images.corruptions.filters import in_bytes, motion_blurred
from vicinal.images.corruptions.pictures import Pictures
from vicinal.images.corruptions.severities import Constants
from vicinal.images.corruptions.zooming import zoomed
from vicinal.images.geometry import quantized

Pixels = UInt8[Tensor, "n 3 h w"]
Field = Float[Tensor, "n h w"]


def snow(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """Falling flakes and a whitened image."""
    count, _, height, width = x.shape
    flakes = torch.randn((count, height, width), generator=rng.device, device=x.device)
    degrees = torch.rand(count, generator=rng.cpu, dtype=torch.float64) * 90 - 135
    return snowed(x, flakes, degrees, constants)


def snowed(
    x: Pixels, flakes: Field, degrees: Float64[Tensor, " n"], constants: Constants
) -> Pixels:
    """With flakes of this standard normal noise, falling at these angles."""
    mean, deviation, zoom, threshold, radius, blur, mix = constants
    layer = (flakes.double() * deviation + mean).permute(1, 2, 0)
    layer = zoomed(layer.contiguous(), zoom).permute(2, 0, 1)
    layer = layer.masked_fill(layer < threshold, 0).contiguous()
    fallen = motion_blurred(in_bytes(layer)[:, None], radius, blur, degrees).float().div_(255)
    image = x.float().div_(255)
    grey = _grey(image)[:, None].mul_(1.5).add_(0.5)
    white = torch.maximum(image, grey).mul_(1 - mix).add_(image.mul_(mix))
    return in_bytes(white.add_(fallen).add_(fallen.flip(2, 3)))


def _grey(image: Float[Tensor, "n 3 h w"]) -> Field:
    red, green, blue = image.unbind(1)
    return red * 0.299 + green * 0.587 + blue * 0.114


def frost(x: Pixels, constants: Constants, rng: Rng, pictures: Pictures) -> Pixels:
    """A random part of a random picture of ice is added; never the lowest nor the rightmost."""
    share, frozen = constants
    height, width = x.shape[2:]
    chosen = torch.randint(len(pictures.heights), (len(x),), generator=rng.cpu)
    chance = torch.rand((2, len(x)), generator=rng.cpu, dtype=torch.float64)
    top = (chance[0] * (pictures.heights[chosen] - height)).long()
    left = (chance[1] * (pictures.widths[chosen] - width)).long()
    ice = pictures.parts(chosen, top, left, height, width)
    return quantized(x.double().mul_(share).add_(ice.double().mul_(frozen)).clamp_(0, 255))


def fog(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """A fractal cloud is added, and the whole dimmed so that the brightest value stays."""
    height, width = x.shape[2:]
    side = 1 << (max(height, width) - 1).bit_length()
    noise = torch.rand((len(x), side, side), generator=rng.device, device=x.device)
    return fogged(x, noise.mul_(2).sub_(1), constants)


def fogged(x: Pixels, noise: Float[Tensor, "n s s"], constants: Constants) -> Pixels:
    """With clouds made of this noise, uniform in [-1, 1]."""
    weight, decay = constants
    height, width = x.shape[2:]
    cloud = plasma(noise, decay)[:, None, :height, :width]
    brightest = x.amax(dim=(1, 2, 3), keepdim=True).float().div_(255)
    foggy = x.float().div_(255).add_(cloud, alpha=weight)
    return in_bytes(foggy.mul_(brightest / (brightest + weight)))


def plasma(noise: Float[Tensor, "n s s"], decay: float) -> Float[Tensor, "n s s"]:
    """Diamond-square height maps on a torus, scaled to [0, 1]; `noise` has one value per point.

    The noise of an octave is multiplied by the square of its size, as in the original.
    """
    heights, step, size = torch.zeros_like(noise), noise.shape[1], 100.0
    while step >= 2:
        _halve(heights, noise * size**2, step)
        step, size = step // 2, size / decay
    low, high = (of(heights, dim=(1, 2), keepdim=True) for of in (torch.amin, torch.amax))
    return (heights - low) / (high - low)


def _halve(heights: Field, noise: Field, step: int) -> None:
    """Fill in the points halfway between those that are `step` apart: the mean of four, and noise.

    First the middle of each square, then of its sides.
    """
    grid, middle = slice(0, None, step), slice(step // 2, None, step)
    corners = heights[:, grid, grid]
    sides = corners + corners.roll(-1, 1)
    centres = (sides + sides.roll(-1, 2)) / 4 + noise[:, middle, middle]
    heights[:, middle, middle] = centres
    across = centres + centres.roll(1, 1) + (corners + corners.roll(-1, 2))
    down = centres + centres.roll(1, 2) + (corners + corners.roll(-1, 1))
    heights[:, grid, middle] = across / 4 + noise[:, grid, middle]
    heights[:, middle, grid] = down / 4 + noise[:, middle, grid]


def brightness(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """HSV's value is raised."""
    (summand,) = constants
    hue, saturation, value = hsv(x.double().div_(255))
    return in_bytes(rgb(hue, saturation, value.add_(summand).clamp_(0, 1)))
