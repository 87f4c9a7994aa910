"""AutoAugment: two operators per sample, a pair drawn from 25 learnt ones; y' = y.

Each operator of the pair is applied with its probability, at its level of 0 to 9, in a direction
drawn for each sample if it has two.

Paper:    Cubuk, Zoph, Mané, Vasudevan, Le, AutoAugment, CVPR 2019, arXiv 1805.09501; §3 (the
          operators), Appendix A (the policies); a baseline of Gong et al., MaxUp,
          arXiv 2002.09024; Table 1
Code:     torchvision transforms/autoaugment.py; the policies are its own
Differs:  from torchvision: draws come from `rng`, and samples that share an operator pass through
          it together, without waiting for the device. On CIFAR the paper
          adds Cutout (vicinity@method.vicinity=compose) and fills with grey, torchvision with
          black.
Cost:     nothing beyond its method
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from vicinal.contracts import Images, Targets, Vicinity
from vicinal.draws import Rng


@dataclass(frozen=True)
class AutoAugment(Vicinity):
    """Operators act on 8-bit images: others are rounded first."""

    policy: Literal["cifar10", "imagenet", "svhn"] = "cifar10"
    fill: Sequence[float] | None = None  # one value per channel from 0 to 1; null is black

    def __call__(self, x: Images, y: Targets, rng: Rng) -> tuple[Images, Targets]:
        if x.shape[1] not in (1, 3):
            raise ValueError(
                f"inputs must have 1 or 3 channels, got {x.shape[1]} (AutoAugment's operators "
                "take grey or colour images)"
            )
        if self.fill is not None and len(self.fill) not in (1, x.shape[1]):
            raise ValueError(
                f"fill must have a value for each of {x.shape[1]} channels, got {list(self.fill)}"
            )
        # To name a run only the class is needed, and torchvision is slow to import.
        from vicinal.images.torchvisions import NOTHING, prepared  # noqa: PLC0415

        policy = prepared(self.policy, *x.shape[1:], x.device)
        fill = [255 * value for value in self.fill or (0.0,)]
        chosen = torch.randint(len(policy.family), (len(x),), generator=rng.cpu)
        chances = torch.rand((len(x), 2), generator=rng.cpu)
        forwards = torch.randint(2, (len(x), 2), generator=rng.cpu)
        applied = torch.where(chances <= policy.chance[chosen], policy.family[chosen], NOTHING)
        rows = policy.row[chosen].gather(2, forwards[..., None])[..., 0]
        pixels = (x * 255).round_().clamp_(0, 255).to(torch.uint8)
        for family, row in zip(applied.unbind(1), rows.unbind(1), strict=True):
            pixels = policy.applied(pixels, family, row, fill)
        return pixels.to(x.dtype) / 255, y
