"""Affine transforms of one image, literally: torchvision 0.4's matrix, Pillow's transform."""

from math import cos, radians, sin

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def matrix_of_2019(size: int, degrees: float, scale: float, shear: float) -> list[float]:
    """M^-1 = C RSS^-1 C^-1, RSS = [[cos(a), -sin(a + s)], [sin(a), cos(a + s)]] · scale.

    C moves the origin to the centre, which release 0.4.2 puts half a pixel too far.
    """
    a, s, c = radians(degrees), radians(shear), size * 0.5 + 0.5
    zoom = 1.0 / scale
    determinant = cos(a + s) * cos(a) + sin(a + s) * sin(a)
    m = [zoom / determinant * v for v in (cos(a + s), sin(a + s), -sin(a), cos(a))]
    x = m[0] * -c + m[1] * -c + c
    y = m[2] * -c + m[3] * -c + c
    return [m[0], m[1], x, m[2], m[3], y]


def transformed(image: Tensor, matrix: list[float]) -> Tensor:
    """Pillow's nearest pixels of a uint8 image (c, h, w), black outside."""
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    kind, nearest = Image.Transform.AFFINE, Image.Resampling.NEAREST
    moved = picture.transform(picture.size, kind, matrix, nearest, fillcolor=0)
    return torch.from_numpy(np.array(moved)).permute(2, 0, 1)
