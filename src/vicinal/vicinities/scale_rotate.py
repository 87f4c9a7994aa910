"""A random size and a random quarter turn: x' = resize(rotate(x)), y' = y.

Paper:    Yang, Zhu, Chen, GradAug, NeurIPS 2020, arXiv 2006.07989; §4.1-4.3 ("random scale",
          "random rotation", "Scale&Rot": rotated first), Table 5
Code:     taoyang1122/GradAug (commit bae97ea) train_cifar.py (bilinear, align_corners=True, no
          antialiasing; the full size is among the sizes); none released for the rotation. Compared
          as part of GradAug's step.
Differs:  one size and one angle per batch, equal on all ranks; the paper does not say whether
          images share the angle. Pixels are resized before the network normalises them: the
          weights of a bilinear resize sum to 1, so the two commute. Sizes are shares of the image's
          side, so that one config serves 32, 96 and 224 pixels.
Cost:     nothing beyond its method
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vicinal.contracts import Images, Targets, Vicinity
from vicinal.draws import Rng, shared_choice

Resized = Float[Tensor, "n c h2 w2"]


@dataclass(frozen=True)
class ScaleRotate(Vicinity):
    """By default the paper's 32, 28 or 24 of 32 pixels, not rotated."""

    scales: Sequence[float] = (1.0, 0.875, 0.75)
    rotate: bool = False

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(
                f"scales must be positive shares of the image's side, got {list(self.scales)} "
                "([1] keeps the size)"
            )

    def __call__(self, x: Images, y: Targets, rng: Rng) -> tuple[Resized, Targets]:
        turns = shared_choice(range(4), rng) if self.rotate else 0
        scale = self.scales[shared_choice(range(len(self.scales)), rng)]
        if turns:
            x = torch.rot90(x, turns, dims=(2, 3))
        if scale != 1:
            size = [max(1, round(scale * side)) for side in x.shape[2:]]
            x = F.interpolate(x, size, mode="bilinear", align_corners=True)
        return x, y
