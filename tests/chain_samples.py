"""Images of bytes, and the two forms of AugMix's operators, for tests of operators and chains."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vicinal.images.fused import FUSED, SINGLE

FORMS = pytest.mark.parametrize("form", [SINGLE, FUSED], ids=["single", "fused"])


def drawn(size: int, count: int) -> Tensor:
    """Noise, ramps, constants, smooth fields, dots, low contrast: bytes, every kind in turn."""
    g = torch.Generator().manual_seed(size)
    images = torch.randint(256, (count, 3, size, size), generator=g).to(torch.uint8)
    colours = torch.randint(256, (count, 3, 1, 1), generator=g).to(torch.uint8)
    coarse = torch.randint(256, (count, 3, 4, 4), generator=g).float()
    smooth = F.interpolate(coarse, (size, size), mode="bicubic").round().clamp(0, 255)
    ramp = torch.linspace(0, 1, size).expand(size, size) * colours
    images[1::6] = ramp.to(torch.uint8)[1::6]
    images[2::6] = colours[2::6]
    images[3::6] = smooth.to(torch.uint8)[3::6]
    images[4::6] *= torch.rand(images[4::6].shape, generator=g) < 0.02
    images[5::6] = images[5::6] % 20 + 100
    return images
