"""Nearest-pixel affine transforms, bit for bit those of torchvision on a PIL image."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

from vicinal.images.affine import inverses, nearest

DOUBLE = torch.float64


def images(number: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    shape = (number, 3, height, width)
    return torch.randint(1, 256, shape, generator=generator, dtype=torch.uint8)


def torchvisions(x: Tensor, *arguments: object, **options: object) -> Tensor:
    picture = Image.fromarray(x.permute(1, 2, 0).numpy())
    moved = functional.affine(picture, *arguments, **options)  # pyright: ignore[reportArgumentType]
    return torch.from_numpy(np.array(moved)).permute(2, 0, 1)


@pytest.mark.parametrize("scale", [1.0, 0.6, 1.4])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (20, 37)])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_any_transform_equals_torchvisions_on_pil_images(
    scale: float, height: int, width: int, offset: float
) -> None:
    number = 120
    x, generator = images(number, height, width), torch.Generator().manual_seed(0)
    uniform = 2 * torch.rand(4, number, generator=generator, dtype=DOUBLE) - 1
    degrees, shear, shift = 180 * uniform[0], 60 * uniform[1], (5 * uniform[2:]).round().T
    degrees[:40], shear[20:60] = 0, 0  # also each by itself, and neither
    centre = (width * 0.5 + offset, height * 0.5 + offset)
    ours = nearest(x, inverses(degrees, shear, scale, shift, centre))
    for i in range(number):
        move = [int(pixels) for pixels in shift[i]]
        found = torchvisions(
            x[i], degrees[i].item(), move, scale, [shear[i].item(), 0.0], center=list(centre)
        )
        assert torch.equal(ours[i], found), i


@pytest.mark.parametrize("scale", [0.6, 0.8, 1.2, 1.4, 1 / 3, 2.9])
@pytest.mark.parametrize("size", [32, 64, 224])
def test_upright_scaling_rounds_where_pillow_does(scale: float, size: int) -> None:
    """Sources fall on the edges between pixels, where one rounding more makes another pixel."""
    x, none = images(1, size, size), torch.zeros(1, dtype=DOUBLE)
    for offset in (0.0, 0.5):
        centre = (size * 0.5 + offset, size * 0.5 + offset)
        ours = nearest(x, inverses(none, none, scale, none[:, None].expand(1, 2), centre))
        found = torchvisions(x[0], 0.0, [0, 0], scale, [0.0, 0.0], center=list(centre))
        assert torch.equal(ours[0], found)


def test_floats_move_as_bytes_do_and_the_given_images_stay() -> None:
    x, angles = images(9, 16, 16), torch.linspace(-90, 90, 9, dtype=DOUBLE)
    before, none = x.clone(), torch.zeros(9, dtype=DOUBLE)
    matrices = inverses(angles, none, 1.0, none[:, None].expand(9, 2), (8.0, 8.0))
    moved = nearest(x, matrices)
    assert torch.equal(nearest(x.float() / 255, matrices), moved.float() / 255)
    layout = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(nearest(layout, matrices), moved)
    assert torch.equal(x, before)
