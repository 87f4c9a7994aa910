"""What attacks share that look for the smallest perturbation with which the network is wrong."""

from math import inf
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from vicinal.attacks.threat import Region, Threat
from vicinal.contracts import Images, PerSample


class Smallest(NamedTuple):
    """The nearest adversarial image found for each sample; where there is none, its own image."""

    images: Images
    distances: PerSample  # infinite where none was found

    @classmethod
    def none(cls, x: Images) -> "Smallest":
        """Before the search."""
        return cls(x.detach(), torch.full_like(x[:, 0, 0, 0], inf))

    def or_nearer(
        self, region: Region, moved: Images, adversarial: Bool[Tensor, " n"]
    ) -> "Smallest":
        """`moved` where it is adversarial and nearer."""
        distances = region.distance(moved)
        nearer = adversarial & (distances < self.distances)
        images = torch.where(nearer.view(-1, 1, 1, 1), moved, self.images)
        return Smallest(images, torch.where(nearer, distances, self.distances))

    def within(self, region: Region) -> Images:
        """What is too far away is projected; rounding changes none of the others."""
        far = self.distances > region.epsilon
        return torch.where(far.view(-1, 1, 1, 1), region.project(self.images), self.images)


def check_threat(threat: Threat, *, linf: bool = False) -> None:
    """Refuse a norm that the attack does not have, and a range that excludes the images."""
    if threat.norm == "linf" and not linf:
        raise ValueError("threat.norm must be l2, got linf (the attack has no other norm)")
    if threat.clip == "normalized":
        raise ValueError(
            "threat.clip must be pixels, none or batches_of_100, got normalized "
            "(it changes even the clean image, which then has no smallest perturbation)"
        )
