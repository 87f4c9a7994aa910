"""AutoAugment: two operators a sample, of a pair drawn from 25 that were learnt; y' = y.

Each operator of the pair is applied with its probability, at its level of 0 to 9, in a direction
drawn for each sample where it has two.

Paper:    Cubuk, Zoph, Mané, Vasudevan, Le, AutoAugment, CVPR 2019, arXiv 1805.09501; §3 (the
          operators), Appendix A (the policies); a baseline of Gong et al., MaxUp,
          arXiv 2002.09024; Table 1
Code:     torchvision transforms/autoaugment.py, whose policies these are
Differs:  from torchvision in the draws, which come from `rng`, and by batches: samples that share
          an operator and a level pass through it together, and no device is waited for. On CIFAR
          the paper adds Cutout (vicinity@method.vicinity=compose) and fills with grey, torchvision
          with black.
Cost:     nothing beyond its method
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import atan, degrees
from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision.transforms import AutoAugment as Torchvision
from torchvision.transforms import AutoAugmentPolicy
from torchvision.transforms import functional as tv

from vicinal.chains.operators import equalize
from vicinal.contracts import Images, Targets, Vicinity
from vicinal.draws import Rng

Pixels = UInt8[Tensor, "n c h w"]
Fill = list[float] | None
UNSIGNED = ("Posterize", "Solarize", "AutoContrast", "Equalize", "Invert")


@dataclass(frozen=True)
class AutoAugment(Vicinity):
    """Operators act on 8-bit images: others are rounded first."""

    policy: Literal["cifar10", "imagenet", "svhn"] = "cifar10"
    fill: Sequence[float] | None = None  # a value a channel from 0 to 1; black where there is none

    def __call__(self, x: Images, y: Targets, rng: Rng) -> tuple[Images, Targets]:
        if x.shape[1] not in (1, 3):
            raise ValueError(
                f"inputs must have 1 or 3 channels, got {x.shape[1]} (AutoAugment's operators are "
                "of grey or colour images)"
            )
        if self.fill is not None and len(self.fill) not in (1, x.shape[1]):
            raise ValueError(
                f"fill must have a value for each of {x.shape[1]} channels, got {list(self.fill)}"
            )
        pairs = Torchvision(AutoAugmentPolicy(self.policy)).policies
        fill = None if self.fill is None else [255 * value for value in self.fill]
        chosen = torch.randint(len(pairs), (len(x),), generator=rng.cpu).tolist()
        chances = torch.rand((len(x), 2), generator=rng.cpu).tolist()
        forwards = torch.randint(2, (len(x), 2), generator=rng.cpu).tolist()
        pixels = (x * 255).round_().clamp_(0, 255).to(torch.uint8)
        for i in range(2):
            alike = defaultdict(list)
            for row, pair in enumerate(chosen):
                name, probability, level = pairs[pair][i]
                if chances[row][i] <= probability:
                    direction = 1 if forwards[row][i] or name in UNSIGNED else -1
                    alike[name, level or 0, direction].append(row)
            for (name, level, direction), members in alike.items():
                highest, operator = OPERATORS[name]
                amount = direction * torch.linspace(0, highest, 10)[level].item()
                rows = torch.tensor(members).to(x.device, non_blocking=True)
                pixels[rows] = operator(pixels[rows], amount, fill)
        return pixels.to(x.dtype) / 255, y


def _sheared(x: Pixels, along: float, down: float, fill: Fill) -> Pixels:
    angles = [degrees(atan(along)), degrees(atan(down))]
    return _rearranged(x, lambda at: tv.affine(at, 0.0, [0, 0], 1.0, angles, center=[0, 0]), fill)


def _moved(x: Pixels, right: float, down: float, fill: Fill) -> Pixels:
    by = [int(right), int(down)]
    return _rearranged(x, lambda at: tv.affine(at, 0.0, by, 1.0, [0.0, 0.0]), fill)


def _rotated(x: Pixels, angle: float, fill: Fill) -> Pixels:
    return _rearranged(x, lambda at: tv.rotate(at, angle), fill)


def _rearranged(x: Pixels, change: Callable[[Tensor], Tensor], fill: Fill) -> Pixels:
    """As torchvision's change of x, which copies its matrix to the device and waits for that.

    Changed here is an image of places, on the CPU; 0 is outside.
    """
    channels, height, width = x.shape[1:]
    at = torch.arange(1.0, height * width + 1).view(1, 1, height, width)
    source = change(at).long().flatten().to(x.device, non_blocking=True)
    colour = torch.tensor(fill or [0.0]).round().to(torch.uint8).to(x.device, non_blocking=True)
    outside = colour.view(1, -1, 1).expand(len(x), channels, 1)
    return torch.cat([outside, x.flatten(2)], dim=2).index_select(2, source).view_as(x)


def _equalized(x: Pixels) -> Pixels:
    """As torchvision's, which asks the device for the histogram of each channel in turn."""
    levels = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    return equalize(x, levels, 0.0)


# The amount at level 9, of which lower levels are shares, and what is done by that amount.
OPERATORS: dict[str, tuple[float, Callable[[Pixels, float, Fill], Pixels]]] = {
    "ShearX": (0.3, lambda x, by, fill: _sheared(x, by, 0.0, fill)),
    "ShearY": (0.3, lambda x, by, fill: _sheared(x, 0.0, by, fill)),
    "TranslateX": (150 / 331, lambda x, by, fill: _moved(x, by * x.shape[3], 0.0, fill)),
    "TranslateY": (150 / 331, lambda x, by, fill: _moved(x, 0.0, by * x.shape[2], fill)),
    "Rotate": (30.0, _rotated),
    "Brightness": (0.9, lambda x, by, _: tv.adjust_brightness(x, 1 + by)),
    "Color": (0.9, lambda x, by, _: tv.adjust_saturation(x, 1 + by)),
    "Contrast": (0.9, lambda x, by, _: tv.adjust_contrast(x, 1 + by)),
    "Sharpness": (0.9, lambda x, by, _: tv.adjust_sharpness(x, 1 + by)),
    "Posterize": (4.0, lambda x, by, _: tv.posterize(x, 8 - round(by))),
    "Solarize": (255.0, lambda x, by, _: tv.solarize(x, 255 - by)),
    "AutoContrast": (0.0, lambda x, by, _: tv.autocontrast(x)),
    "Equalize": (0.0, lambda x, by, _: _equalized(x)),
    "Invert": (0.0, lambda x, by, _: tv.invert(x)),
}
