"""A square hole: x' = x with one patch replaced by a constant; y' = y.

Paper:    DeVries & Taylor, Cutout, 2017, arXiv 1708.04552; §3; as MaxUp §4.2 uses it
Code:     uoguelph-mlrg/Cutout util/cutout.py: centre uniform over all pixels, clipped at borders.
          Compared for given draws, `per: batch`, with PatchUp's: images equal.
Differs:  an odd length is kept whole (the code loses a pixel; every published length is even).
          The hole is `fill` in pixel space; at the data set's mean that is the code's 0 after
          normalisation. `per: batch` is PatchUp's variant, one hole for all images.
Cost:     nothing beyond its method
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from vicinal.contracts import Maps, Targets, Vicinity
from vicinal.draws import Rng


@dataclass(frozen=True)
class Cutout(Vicinity):
    """One hole of `length` pixels per side: 16 on CIFAR-10 and 8 on CIFAR-100 in its paper."""

    length: int = 16
    per: Literal["sample", "batch"] = "sample"
    fill: Sequence[float] | None = None  # one value per channel; null is black

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length must be at least 1, got {self.length} (pixels per side)")

    def __call__(self, x: Maps, y: Targets, rng: Rng) -> tuple[Maps, Targets]:
        count = len(x) if self.per == "sample" else 1
        covers = [self._covered(count, size, rng) for size in x.shape[-2:]]
        # Sent before they are combined, because the mask is as large as the images.
        rows, columns = (cover.to(x.device, non_blocking=True) for cover in covers)
        hole = rows[:, None, :, None] & columns[:, None, None, :]
        fill = torch.tensor(self.fill or (0.0,), dtype=x.dtype).to(x.device, non_blocking=True)
        return torch.where(hole, fill.view(1, -1, 1, 1), x), y

    def _covered(self, count: int, size: int, rng: Rng) -> torch.Tensor:
        start = torch.randint(size, (count, 1), generator=rng.cpu) - self.length // 2
        position = torch.arange(size)
        return (position >= start) & (position < start + self.length)
