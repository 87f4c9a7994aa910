"""Two classes on two noisy circles about one centre: the outer is class 0, the inner class 1."""

from math import pi

import torch

from vicinal.data.dataset import Data
from vicinal.data.split import Split
from vicinal.data.tabular import statistics
from vicinal.draws import Rng

RADII, NOISE = (1.0, 0.4), 0.1
TRAIN, TEST = 400, 1000


def circles(seed: int) -> Data:
    """The same number of points per class; the network's first layer standardises them."""
    rng = Rng.seeded(seed)
    train, test = (_points(count, rng) for count in (TRAIN, TEST))
    mean, std = statistics(train.x)
    return Data(
        train=train,
        test=test,
        valid=None,
        num_classes=len(RADII),
        mean=mean,
        std=std,
        fingerprint={},
        canonical=None,
    )


def _points(count: int, rng: Rng) -> Split:
    y = torch.arange(count) % len(RADII)
    angle = 2 * pi * torch.rand(count, generator=rng.cpu)
    radius = torch.tensor(RADII)[y]
    place = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    return Split(place + NOISE * torch.randn((count, 2), generator=rng.cpu), y)
