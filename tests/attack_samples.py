"""What attacks are tried on: a small network that is right on most of its images."""

from dataclasses import replace
from functools import cache

import torch
from evaluation_samples import data
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.data.dataset import Data
from vicinal.data.split import Split


@cache
def trained(classes: int = 4, size: int = 6) -> tuple[nn.Module, Tensor, Tensor]:
    """A network in eval mode, images and one-hot targets, all float64; it is not robust."""
    torch.manual_seed(0)
    centres = torch.rand(classes, 3, size, size)
    labels = torch.arange(48) % classes
    x = (0.25 * centres[labels] + 0.75 * torch.rand(48, 3, size, size)).double()
    y = F.one_hot(labels, classes).double()
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(6 * size**2, classes)).double()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(15):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.requires_grad_(False).eval(), x, y


def right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which images the network takes for what they are."""
    with torch.no_grad():
        return model(x).argmax(1) == y.argmax(1)


def of_trained() -> tuple[nn.Module, Data]:
    """A network, and images of which it is right on all but three; they are float64."""
    model, x, y = trained()
    labels = y.argmax(1)
    labels[:3] = (labels[:3] + 1) % 4
    split = Split(x, labels)
    return model, replace(data(4), train=split, test=split)
