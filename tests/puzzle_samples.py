"""Images, saliencies and partners for the tests of Puzzle Mix."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

SETTINGS: dict[str, Any] = {"eta": 0.2, "beta": 1.2, "gamma": 0.5}


def batch(count: int = 5, side: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, 3, side, side, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.randint(5, (count,), generator=generator), 5).double()


def spiky(count: int = 5, side: int = 8) -> Tensor:
    """Saliency that is worth moving."""
    generator = torch.Generator().manual_seed(2)
    return torch.rand(count, side, side, generator=generator, dtype=torch.float64) ** 6


PARTNER = torch.tensor([3, 0, 2, 4, 1])
