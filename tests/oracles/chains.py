"""AugMix's operators as Pillow has them, its chains one image at a time, its mixture by pixel."""

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.Image import Resampling, Transform
from torch import Tensor

NAMES = (
    *("autocontrast", "equalize", "posterize", "rotate", "solarize"),
    *("shear_x", "shear_y", "translate_x", "translate_y"),
)


def pillow(name: str, image: Image.Image, level: float) -> Image.Image:
    """augmentations.py of google-research/augmix at a given level, whose sign is the direction."""
    v, sign, side = abs(level), 1 if level > 0 else -1, image.width

    def whole(largest: float) -> int:
        return int(v * largest / 10)

    def affine(*matrix: float) -> Image.Image:
        return image.transform((side, side), Transform.AFFINE, matrix, Resampling.BILINEAR)

    match name:
        case "autocontrast":
            return ImageOps.autocontrast(image)
        case "equalize":
            return ImageOps.equalize(image)
        case "posterize":
            return ImageOps.posterize(image, 4 - whole(4))
        case "rotate":
            return image.rotate(sign * whole(30), Resampling.BILINEAR)
        case "solarize":
            return ImageOps.solarize(image, 256 - whole(256))
        case "shear_x":
            return affine(1, sign * v * 0.3 / 10, 0, 0, 1, 0)
        case "shear_y":
            return affine(1, 0, 0, sign * v * 0.3 / 10, 1, 0)
        case "translate_x":
            return affine(1, 0, sign * whole(side / 3), 0, 1, 0)
        case "translate_y":
            return affine(1, 0, 0, 0, 1, sign * whole(side / 3))
    raise AssertionError(name)


def to_pillow(pixels: Tensor) -> Image.Image:
    """Bytes (c, h, w) as an image: RGB, or grey if c is 1."""
    values = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


def from_pillow(image: Image.Image) -> Tensor:
    """The bytes (c, h, w) of an image."""
    values = torch.from_numpy(np.array(image))
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


def chain(pixels: Tensor, operators: list[int], levels: list[float], length: int) -> Tensor:
    """The first `length` operators, one after another."""
    image = to_pillow(pixels)
    for operator, level in list(zip(operators, levels, strict=True))[:length]:
        image = pillow(NAMES[operator], image, level)
    return from_pillow(image)


def mixture(x: Tensor, chains: list[Tensor], m: float, w: list[float]) -> Tensor:
    """(1 - m) x + m Σ_i w_i a_i of one image, pixel by pixel; chains in bytes."""
    mixed = torch.empty_like(x)
    for p in range(x.numel()):
        total = sum(w[i] * int(chains[i].reshape(-1)[p]) / 255 for i in range(len(chains)))
        mixed.view(-1)[p] = (1 - m) * x.reshape(-1)[p] + m * total
    return mixed
