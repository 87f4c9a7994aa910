"""PatchUp's deformed test images: rotated, sheared or scaled about the centre, black outside.

Paper:    Faramarzi et al., PatchUp, AAAI 2022, arXiv 2006.07794; Table 4 and Sec. 4
Code:     chandar-lab/PatchUp (commit 31133f3) data_loader.py, create_deformation_sets
Differs:  the angles are drawn from the evaluation's seed; theirs were drawn once, without a seed
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal, get_args

import torch

from vicinal.data.shifted.changed import Changed, Pixels
from vicinal.data.split import Part
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.images.affine import inverses, nearest

Kind = Literal["rotate", "shear", "scale"]
Release = Literal["v0.4", "v0.8"]

# Degrees, of which each image draws its own between -amount and amount; or a factor for all.
DEFORMATIONS: Mapping[str, tuple[Kind, float]] = MappingProxyType(
    {
        "rotate_20": ("rotate", 20.0),
        "rotate_40": ("rotate", 40.0),
        "shear_28.6": ("shear", 28.6),
        "shear_57.3": ("shear", 57.3),
        "scale_0.6": ("scale", 0.6),
        "scale_0.8": ("scale", 0.8),
        "scale_1.2": ("scale", 1.2),
        "scale_1.4": ("scale", 1.4),
    }
)


@dataclass(frozen=True)
class Deformed:
    """The pixels of torchvision's RandomAffine on a PIL image: nearest, sheared along x only.

    The authors' release, 0.4.2, turns and scales about a point half a pixel to the right of the
    centre and below it, and its shear also flattens the image by the cosine of the angle (to 54 %
    at 57.3 degrees). Releases from 0.8 on do neither.
    """

    torchvision: Release = "v0.4"

    def __post_init__(self) -> None:
        if self.torchvision not in get_args(Release):
            known = " or ".join(get_args(Release))
            raise ValueError(f"torchvision must be {known}, got {self.torchvision}")

    @property
    def names(self) -> tuple[str, ...]:
        """The rows of Table 4."""
        return tuple(DEFORMATIONS)

    def load(self, name: str, test: Part, rng: Rng) -> Changed:
        """The test images, deformed when they are read."""
        if len(test.shape) != 3:
            raise RunError(f"dataset must have images to deform, got samples of shape {test.shape}")
        kind, amount = DEFORMATIONS[name]
        return Changed(test, partial(deformed, kind, amount, self.torchvision), rng)


def deformed(kind: Kind, amount: float, release: Release, x: Pixels, rng: Rng) -> Pixels:
    """Each image by an angle of its own, or all by one factor; factors below 1 shrink."""
    none = torch.zeros(len(x), dtype=torch.float64)
    angles = (2 * torch.rand(len(x), dtype=torch.float64, generator=rng.cpu) - 1) * amount
    early = release == "v0.4"
    height, width = x.shape[2:]
    offset = 0.5 if early else 0.0
    matrices = inverses(
        angles if kind == "rotate" else none,
        angles if kind == "shear" else none,
        amount if kind == "scale" else 1.0,
        none[:, None].expand(-1, 2),
        (width * 0.5 + offset, height * 0.5 + offset),
        flattened=early,
    )
    return nearest(x, matrices)
