"""Noise: Gaussian, shot, impulse and speckle."""

import torch
from jaxtyping import UInt8
from torch import Tensor

from vicinal.draws import Rng
from vicinal.images.corruptions.severities import Constants
from vicinal.images.geometry import quantized

Pixels = UInt8[Tensor, "n 3 h w"]


def gaussian_noise(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """Normal noise on every value."""
    (deviation,) = constants
    noise = torch.randn(x.shape, generator=rng.device, device=x.device)
    return quantized(noise.mul_(255 * deviation).add_(x).clamp_(0, 255))


def shot_noise(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """The number of photons that are counted at every value: Poisson's."""
    (photons,) = constants
    counts = torch.poisson(x * (photons / 255), generator=rng.device)
    # Many counts are whole values, so these steps are the original's, in double precision.
    return quantized(counts.double().div_(photons).clamp_(0, 1).mul_(255))


def impulse_noise(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """Salt and pepper: a share of the values becomes 0 or 255, each as often."""
    (share,) = constants
    chance = torch.rand(x.shape, generator=rng.device, device=x.device)
    return x.masked_fill(chance < share, 0).masked_fill_(chance < share / 2, 255)


def speckle_noise(x: Pixels, constants: Constants, rng: Rng) -> Pixels:
    """Normal noise in proportion to the value."""
    (deviation,) = constants
    noise = torch.randn(x.shape, generator=rng.device, device=x.device)
    return quantized(noise.mul_(deviation).add_(1).mul_(x).clamp_(0, 255))
