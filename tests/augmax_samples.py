"""A small network and images on the grid of bytes, for AugMax, its relatives and their searches."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.models.normalized import Normalized
from vicinal.models.wide_resnet import WideResNet


def network() -> nn.Module:
    torch.manual_seed(0)
    body = WideResNet(10, 1, num_classes=4, shape=(3, 8, 8))
    return Normalized(body, (0.5,) * 3, (0.2,) * 3).double()


def batch(count: int = 8, size: int = 8, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (count, 3, size, size), generator=generator) / 255
    return x.double(), F.one_hot(torch.arange(count) % classes, classes).double()
