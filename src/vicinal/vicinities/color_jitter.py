"""Colour jitter and PCA lighting: the base augmentation of CutMix's ImageNet networks.

Each image has its own order of the three and its own factors a ~ U(-s, s):
brightness x - a x, contrast x + a (mean(grey(x)) - x), saturation x + a (grey(x) - x); then
lighting x + V (b * d), with V and d the eigenvectors and eigenvalues of ImageNet's colours and
b ~ N(0, lighting²), three numbers per image.

Paper:    Krizhevsky, Sutskever, Hinton, NeurIPS 2012, Sec. 4.1 (lighting); GradAug §4.1 and PatchUp
          Table 3 follow CutMix
Code:     clovaai/CutMix-PyTorch utils.py, ColorJitter and Lighting, on images in [0, 1]
Differs:  nothing known from this code; like it, ours does not clamp, so values may leave [0, 1].
          GradAug's code, unlike its §4.1, jitters in Pillow, and its lighting moves bytes by at
          most 1.
Cost:     nothing beyond its method
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vicinal.contracts import Images, Targets, Vicinity
from vicinal.draws import Rng

GREY = (0.299, 0.587, 0.114)
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


@dataclass(frozen=True)
class ColorJitter(Vicinity):
    """`strength` is s for all three factors; 0 leaves a part out."""

    strength: float = 0.4
    lighting: float = 0.1

    def __post_init__(self) -> None:
        for key in ("strength", "lighting"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be at least 0, got {getattr(self, key)}")

    def __call__(self, x: Images, y: Targets, rng: Rng) -> tuple[Images, Targets]:
        if self.strength:
            x = self._jittered(x, rng)
        if self.lighting:
            b = self.lighting * torch.randn((len(x), 3), generator=rng.cpu)
            shift = (b * torch.tensor(EIGENVALUES)) @ torch.tensor(EIGENVECTORS).T
            x = x + shift[:, :, None, None].to(x, non_blocking=True)
        return x, y

    def _jittered(self, x: Images, rng: Rng) -> Images:
        order = torch.rand((3, len(x)), generator=rng.cpu).argsort(
            dim=0
        )  # which operation comes when
        factors = (2 * torch.rand((3, len(x)), generator=rng.cpu) - 1) * self.strength
        for what, a in zip(order[..., None, None, None], factors, strict=True):
            grey = _grey(x)
            contrast, saturation = ((what == kind).to(x, non_blocking=True) for kind in (1, 2))
            target = saturation * grey + contrast * grey.mean((2, 3), keepdim=True)
            x = x.lerp(target.expand_as(x), a.view(-1, 1, 1, 1).to(x, non_blocking=True))
        return x


def _grey(x: Images) -> Float[Tensor, "n 1 h w"]:
    return (x * torch.tensor(GREY).view(3, 1, 1).to(x, non_blocking=True)).sum(1, keepdim=True)
