"""torchvision's AutoAugment operators, each image by an amount of its own, in few launches.

Some operators treat all images alike: they move pixels, or map values by a table. torchvision is
asked for those once per amount of a policy, on the CPU, and the answers stay on the device. The
others are computed together for all images that share an operator, at any amounts.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import atan, degrees

import torch
from jaxtyping import Float, Float32, Float64, Int32, Int64, UInt8
from torch import Tensor
from torchvision.transforms import AutoAugment as Torchvision
from torchvision.transforms import AutoAugmentPolicy
from torchvision.transforms import functional as tv

from vicinal.images.operators import equalize

Pixels = UInt8[Tensor, "n c h w"]
UNSIGNED = ("Posterize", "Solarize", "AutoContrast", "Equalize", "Invert")
# The amount at level 9; lower levels are shares of it.
HIGHEST = {
    **{"ShearX": 0.3, "ShearY": 0.3, "TranslateX": 150 / 331, "TranslateY": 150 / 331},
    **{"Rotate": 30.0, "Brightness": 0.9, "Color": 0.9, "Contrast": 0.9, "Sharpness": 0.9},
    **{"Posterize": 4.0, "Solarize": 255.0, "AutoContrast": 0.0, "Equalize": 0.0, "Invert": 0.0},
}
MOVES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "ShearX": lambda x, by: _sheared(x, [degrees(atan(by)), 0.0]),
    "ShearY": lambda x, by: _sheared(x, [0.0, degrees(atan(by))]),
    "TranslateX": lambda x, by: tv.affine(x, 0.0, [int(by * x.shape[3]), 0], 1.0, [0.0, 0.0]),
    "TranslateY": lambda x, by: tv.affine(x, 0.0, [0, int(by * x.shape[2])], 1.0, [0.0, 0.0]),
    "Rotate": tv.rotate,
}
RECOLOURS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "Brightness": lambda x, by: tv.adjust_brightness(x, 1 + by),
    "Posterize": lambda x, by: tv.posterize(x, 8 - round(by)),
    "Solarize": lambda x, by: tv.solarize(x, 255 - by),
    "Invert": lambda x, _: tv.invert(x),
}
# Families applied together: all moves, all recolourings, then each of these alone.
STRETCHES, BLENDS = ("AutoContrast", "Equalize"), ("Color", "Contrast", "Sharpness")
MOVE, RECOLOUR, AUTOCONTRAST, EQUALIZE, COLOR, CONTRAST, SHARPNESS, NOTHING = range(8)


@dataclass(frozen=True)
class Policy:
    """A policy's 25 pairs for images of one shape; the tables that rows point to are on the device.

    `row` selects, for either direction (against, along), one of the sources, look-ups or shares.
    """

    family: Int64[Tensor, "p 2"]
    chance: Float64[Tensor, "p 2"]
    row: Int64[Tensor, "p 2 2"]
    sources: Int32[Tensor, "s hw"]  # places from 1 on, and 0 outside
    look_ups: UInt8[Tensor, "l 256"]
    shares: Float32[Tensor, "b 2"]  # of the image, and of the image it is blended with

    def applied(
        self, x: Pixels, family: Int64[Tensor, " n"], row: Int64[Tensor, " n"], fill: list[float]
    ) -> Pixels:
        """Apply one operator per image, given by its family and row, which are on the CPU."""
        order = family.argsort(stable=True)
        counts = family.bincount(minlength=NOTHING + 1).tolist()
        there = torch.stack([order, row[order], order.argsort()]).to(x.device, non_blocking=True)
        images = x.index_select(0, there[0])
        rows = there[1].split(counts)
        parts = images.split(counts)
        blended = torch.cat(parts[COLOR:NOTHING])
        found = [
            self._moved(parts[MOVE], rows[MOVE], fill),
            self._recoloured(parts[RECOLOUR], rows[RECOLOUR]),
            tv.autocontrast(parts[AUTOCONTRAST]),
            _equalized(parts[EQUALIZE]),
            self._blended(blended, torch.cat(rows[COLOR:NOTHING]), counts[COLOR:NOTHING]),
            parts[NOTHING],
        ]
        return torch.cat(found).index_select(0, there[2])

    def _moved(self, x: Pixels, rows: Int64[Tensor, " n"], fill: list[float]) -> Pixels:
        channels = x.shape[1]
        source = self.sources.index_select(0, rows).long()[:, None].expand(-1, channels, -1)
        colour = torch.tensor(fill).round().to(torch.uint8).to(x.device, non_blocking=True)
        outside = colour.view(1, -1, 1).expand(len(x), channels, 1)
        return torch.cat([outside, x.flatten(2)], dim=2).gather(2, source).view_as(x)

    def _recoloured(self, x: Pixels, rows: Int64[Tensor, " n"]) -> Pixels:
        look_up = self.look_ups.index_select(0, rows)
        return look_up.gather(1, x.flatten(1).long()).view_as(x)

    def _blended(self, x: Pixels, rows: Int64[Tensor, " n"], counts: list[int]) -> Pixels:
        own, others = self.shares.index_select(0, rows).view(-1, 2, 1, 1, 1).unbind(1)
        towards = _greyed(x[: counts[0] + counts[1]], counts[0])
        sharp = tv.adjust_sharpness(x[counts[0] + counts[1] :], 0.0).float()
        mixed = own * x + others * torch.cat([towards.expand(-1, *x.shape[1:]), sharp])
        return mixed.clamp(0, 255).to(torch.uint8)


def _greyed(x: Pixels, colours: int) -> Float[Tensor, "n 1 h w"]:
    """Images in grey; after the first `colours`, each in one uniform grey."""
    grey = (x if x.shape[1] == 1 else tv.rgb_to_grayscale(x)).float()
    one = grey[colours:].mean((1, 2, 3), keepdim=True)
    return torch.cat([grey[:colours], one.expand_as(grey[colours:])])


def _equalized(x: Pixels) -> Pixels:
    """As torchvision's, which waits for the device for each channel's histogram."""
    return equalize(x, torch.zeros(len(x), dtype=torch.float64), 0.0)


@lru_cache(maxsize=4)
def prepared(name: str, channels: int, height: int, width: int, device: torch.device) -> Policy:
    """A policy, prepared for images of one shape."""
    families, chances, rows = [], [], []
    kept: dict[int, dict[tuple[str, float], int]] = defaultdict(dict)  # amounts by family
    for operator, chance, level in chain(*Torchvision(AutoAugmentPolicy(name)).policies):
        family = _family(operator, channels, min(height, width))
        amount = torch.linspace(0, HIGHEST[operator], 10)[level or 0].item()
        against = amount if operator in UNSIGNED else -amount
        known = kept[COLOR if family in (CONTRAST, SHARPNESS) else family]
        families.append(family)
        chances.append(chance)
        rows.append([known.setdefault((operator, by), len(known)) for by in (against, amount)])
    at = torch.arange(1.0, height * width + 1).view(1, 1, height, width)
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    moves = [MOVES[operator](at, by).int() for operator, by in kept[MOVE]]
    colours = [RECOLOURS[operator](ramp, by) for operator, by in kept[RECOLOUR]]
    shares = [[1 + by, 1.0 - (1 + by)] for _, by in kept[COLOR]]
    tables = torch.cat(moves), torch.cat(colours), torch.tensor(shares, dtype=torch.float64).float()
    return Policy(
        torch.tensor(families).view(-1, 2),
        torch.tensor(chances, dtype=torch.float64).view(-1, 2),
        torch.tensor(rows).view(-1, 2, 2),
        *(table.flatten(1).to(device, non_blocking=True) for table in tables),
    )


def _family(operator: str, channels: int, side: int) -> int:
    """Grey images keep their colours, and images too small to sharpen stay as they are."""
    if (operator == "Color" and channels == 1) or (operator == "Sharpness" and side <= 2):
        return NOTHING
    if operator in MOVES:
        return MOVE
    if operator in RECOLOURS:
        return RECOLOUR
    return AUTOCONTRAST + (*STRETCHES, *BLENDS).index(operator)


def _sheared(x: Tensor, angles: list[float]) -> Tensor:
    return tv.affine(x, 0.0, [0, 0], 1.0, angles, center=[0, 0])
