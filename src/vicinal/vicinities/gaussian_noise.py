"""Additive noise: x' = x + σ s ε with ε ~ N(0, I); y' = y.

Paper:    Cohen, Rosenfeld, Kolter, 2019, arXiv 1902.02918 (pixel space, MaxUp §4.4 and Theorem 1);
          mixup Table 5 (normalised space: give the channels' standard deviations as `scale`)
Code:     locuslab/smoothing train.py: no clipping
Differs:  nothing known
Cost:     nothing beyond its method
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vicinal.contracts import Inputs, Targets, Vicinity
from vicinal.draws import Rng


@dataclass(frozen=True)
class GaussianNoise(Vicinity):
    """Fresh noise for each sample and each draw."""

    sigma: float = 0.25
    scale: Sequence[float] | None = None  # one factor per channel; null is 1

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise ValueError(f"sigma must be at least 0, got {self.sigma}")

    def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
        noise = torch.randn(x.shape, generator=rng.device, device=x.device, dtype=x.dtype)
        if self.scale is not None:
            scale = torch.tensor(self.scale, dtype=x.dtype).to(x.device, non_blocking=True)
            noise = noise * scale.view(1, -1, *[1] * (x.ndim - 2))
        return x + self.sigma * noise, y
