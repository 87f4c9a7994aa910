"""A network that knows the digits, and what the attacks for the smallest perturbation share."""

import copy
from functools import cache
from math import inf
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.draws import Rng


@cache
@torch.enable_grad()
def network() -> nn.Module:
    """After a few steps on the digits; in train mode, with a mode of its own for one layer."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(8 * 6 * 6, 10)).double()
    x, y = digits()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for step in range(60):
        rows = torch.arange(128) + 128 * (step % 10)
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    optimizer.zero_grad()
    model[2].eval()
    return model


@cache
def digits() -> tuple[Tensor, Tensor]:
    found = load_digits()
    x = torch.from_numpy(found.images).double()[:, None] / 16
    return x, torch.from_numpy(found.target).long()


def batch(size: int) -> tuple[Tensor, Tensor]:
    """Images that the network has not seen, and one-hot labels; the last label is wrong."""
    x, y = digits()
    labels = y[-size:].clone()
    labels[-1] = (labels[-1] + 1) % 10
    return x[-size:].clone(), F.one_hot(labels, 10).double()


def frozen() -> nn.Module:
    """A copy in eval mode."""
    return copy.deepcopy(network()).eval()


def norms(shift: Tensor, norm: str) -> Tensor:
    return shift.flatten(1).norm(dim=1, p=2 if norm == "l2" else inf)


def beside_foolbox(ours: Any, theirs: Any, *, atol: float) -> None:
    """Successes and norms, and the images with them, are those of foolbox."""
    foolbox = pytest.importorskip("foolbox")
    x, y = batch(24)
    model = frozen()
    threat, labels = ours.threat, y.argmax(1)
    at = threat.epsilon
    _, expected, fooled = theirs(foolbox.PyTorchModel(model, (0, 1)), x, labels, epsilons=at)
    found = ours(network(), x, y, Rng.seeded(0))
    with torch.no_grad():
        assert torch.equal(model(found).argmax(1) != labels, fooled)
    assert fooled.all() if at is None else 0 < fooled.sum() < 24
    lengths = norms(found - x, threat.norm), norms(expected - x, threat.norm)
    torch.testing.assert_close(*lengths, rtol=0, atol=atol)
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)
