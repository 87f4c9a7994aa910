"""Photographs in small, the draws of each corruption, and its literal oracle applied to them."""

from functools import cache

import numpy as np
import torch
from oracles import corruptions as oracle
from PIL import Image
from PIL.Image import Resampling
from sklearn.datasets import load_sample_images
from torch import Tensor

from vicinal.draws import Rng
from vicinal.images.corruptions.corrupt import TABLE
from vicinal.images.corruptions.pictures import pictures
from vicinal.images.corruptions.severities import FROST_SCALES, published_side

FIXED = {  # without draws
    *("defocus_blur", "zoom_blur", "gaussian_blur"),
    *("brightness", "saturate", "contrast", "pixelate", "jpeg_compression"),
}


@cache
def photographs(side: int, count: int) -> Tensor:
    """Square parts of two photographs, shrunk; the last one has a white and a black half."""
    images = []
    for number in range(count):
        whole = Image.fromarray(load_sample_images().images[number % 2])
        width = (427, 300, 230)[number % 3]
        left, top = number * 37 % (640 - width), number * 11 % (427 - width + 1)
        part = whole.crop((left, top, left + width, top + width))
        images.append(np.array(part.resize((side, side), Resampling.BICUBIC)))
    images[-1][:, : side // 2], images[-1][:, side // 2 :] = 255, 0
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def draws(name: str, c: tuple[float, ...], x: Tensor, rng: Rng) -> list[np.ndarray]:
    """What the corruption draws for a batch that is processed in one piece; images first."""
    count, _, side, _ = x.shape
    plane, pixels = (count, side, side), rng.device
    match name:
        case "gaussian_noise" | "speckle_noise":
            return [_last(torch.randn(x.shape, generator=pixels))]
        case "shot_noise":
            return [_last(torch.poisson(x * (c[0] / 255), generator=pixels))]
        case "impulse_noise":
            return [_last(torch.rand(x.shape, generator=pixels))]
        case "motion_blur":
            return [_uniform(-45, 45, count, rng)]
        case "glass_blur":
            reach, shape = int(c[1]), (count, 2, side, side)
            passes = (
                torch.randint(-reach, reach, shape, generator=pixels) for _ in range(int(c[2]))
            )
            return [torch.stack(list(passes), dim=1).numpy()]
        case "snow":
            flakes = torch.randn(plane, generator=pixels).double().numpy()
            return [flakes, _uniform(-135, -45, count, rng)]
        case "frost":
            return [_ice(x, rng)]
        case "fog":
            side = 1 << (side - 1).bit_length()
            return [_signed(torch.rand((count, side, side), generator=pixels))]
        case "elastic_transform":
            corners = torch.rand((count, 3, 2), generator=rng.cpu, dtype=torch.float64)
            fields = torch.rand((count, 2, side, side), generator=pixels)
            return [_signed(corners), _signed(fields)]
        case "spatter":
            return [torch.randn(plane, generator=pixels).double().numpy()]
    return []


def _last(values: Tensor) -> np.ndarray:
    """Channels last."""
    return values.double().permute(0, 2, 3, 1).numpy()


def _signed(values: Tensor) -> np.ndarray:
    return values.mul_(2).sub_(1).double().numpy()


def _uniform(low: float, high: float, count: int, rng: Rng) -> np.ndarray:
    values = torch.rand(count, generator=rng.cpu, dtype=torch.float64)
    return (values * (high - low) + low).numpy()


def _ice(x: Tensor, rng: Rng) -> np.ndarray:
    count, _, side, _ = x.shape
    scale = FROST_SCALES[published_side(side, side)]
    known = pictures(None, scale, side, side, torch.device("cpu"))
    chosen = torch.randint(5, (count,), generator=rng.cpu)
    chance = torch.rand((2, count), generator=rng.cpu, dtype=torch.float64)
    top = (chance[0] * (known.heights[chosen] - side)).long()
    left = (chance[1] * (known.widths[chosen] - side)).long()
    return known.parts(chosen, top, left, side, side).permute(0, 2, 3, 1).numpy()


def literal(name: str, severity: int, x: Tensor, rng: Rng) -> Tensor:
    """The oracle, image by image."""
    c = TABLE[name][1][x.shape[2]][severity - 1]
    whole = tuple(int(value) if float(value).is_integer() else value for value in c)
    drawn = draws(name, c, x, rng)
    arrays = x.permute(0, 2, 3, 1).contiguous().numpy()  # NumPy sums in the order of memory
    found = [
        getattr(oracle, name)(array, whole, *(values[i] for values in drawn))
        for i, array in enumerate(arrays)
    ]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def agreement(ours: Tensor, theirs: Tensor) -> tuple[float, int]:
    """The share of equal values, and the largest difference."""
    difference = (ours.int() - theirs.int()).abs()
    return (difference == 0).double().mean().item(), int(difference.max())
