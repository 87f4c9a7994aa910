"""Small residual networks in float64, images for them, and a step."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.contracts import Method
from vicinal.draws import Rng
from vicinal.models.resnet import CifarResNet
from vicinal.models.wide_resnet import WideResNet
from vicinal.vicinities.scale_rotate import ScaleRotate

SCALE = ScaleRotate([1.0, 0.75, 0.5])
FIXED = ScaleRotate([1.0])


def network(width: int = 1, side: int = 8) -> WideResNet:
    torch.manual_seed(0)
    return WideResNet(10, width, num_classes=4, shape=(3, side, side)).double()


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return CifarResNet(20, num_classes=4, shape=(3, 8, 8)).double()


def batch(count: int = 5, side: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, 3, side, side, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.arange(count) % 4, 4).double()


def stepped(method: Method, model: nn.Module, x: Tensor, y: Tensor, seed: int = 0) -> list[Tensor]:
    """The terms, each backpropagated as it arrives."""
    terms = []
    for term in method(model, x, y, Rng.seeded(seed)):
        term.backward()
        terms.append(term.detach())
    return terms
