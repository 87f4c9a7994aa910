"""Gaussian mixtures in the plane, toy data for GANs.

Paper:    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; Fig. 5 (which names neither set)
Code:     hongyi-zhang/mixup gan/example_gan.py at 80000ce, means_circle, means_grid, sample_real
Differs:  nothing known
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from vicinal.draws import Rng

Points = Float[Tensor, "n 2"]


@dataclass(frozen=True, eq=False)
class Mixture:
    """Equally likely isotropic Gaussians of one standard deviation."""

    centres: Float[Tensor, "k 2"]
    std: float = 0.01

    def sample(self, count: int, rng: Rng) -> Points:
        """Draw points on the CPU, equal for every device, and move them to `rng`'s device."""
        mode = torch.randint(len(self.centres), (count,), generator=rng.cpu)
        noise = torch.randn((count, 2), generator=rng.cpu)
        return (self.centres[mode] + self.std * noise).to(rng.device.device)


def ring() -> Mixture:
    """Eight modes, evenly spaced on the unit circle."""
    angle = 2 * pi * torch.arange(8) / 8
    return Mixture(torch.stack([angle.sin(), angle.cos()], dim=1))


def grid() -> Mixture:
    """Five by five modes on [-1, 1]², half a unit apart."""
    side = torch.linspace(-1, 1, 5)
    return Mixture(torch.cartesian_prod(side, side))


MIXTURES: dict[str, Callable[[], Mixture]] = {"ring": ring, "grid": grid}
