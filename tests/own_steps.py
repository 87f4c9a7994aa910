"""A few steps in a loop of one's own, which other frameworks' steps must equal to the last bit."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vicinal.adapters.loop import OwnLoop
from vicinal.contracts import Method
from vicinal.methods.augmax import AugMax
from vicinal.methods.erm import Erm
from vicinal.methods.gradaug import GradAug
from vicinal.methods.maxup import MaxUp
from vicinal.methods.patchup import PatchUp
from vicinal.models.normalized import Normalized
from vicinal.models.wide_resnet import WideResNet
from vicinal.vicinities.augmix import AugMix
from vicinal.vicinities.cutmix import CutMix
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup
from vicinal.vicinities.scale_rotate import ScaleRotate

METHODS: dict[str, Callable[[], Method]] = {
    "erm": lambda: Erm(Identity()),
    "mixup": lambda: Erm(Mixup(alpha=1.0)),
    "maxup": lambda: MaxUp(CutMix(alpha=1.0), copies=4),
    "gradaug": lambda: GradAug(Identity(), ScaleRotate(scales=(1.0, 0.75))),  # several terms
    "augmax": lambda: AugMax(Identity(), AugMix(), steps=2),  # changes the network
    "patchup": lambda: PatchUp(Identity(), block_size=1),  # acts between stages
}
CLASSES = 4


def network() -> nn.Module:
    torch.manual_seed(0)
    body = WideResNet(10, 1, num_classes=CLASSES, shape=(3, 8, 8))
    return Normalized(body, (0.5,) * 3, (0.2,) * 3)


def batches(count: int = 3) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 4, 3, 8, 8, generator=generator)
    return [(x, torch.arange(4) % CLASSES) for x in images]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def trained(
    steps: OwnLoop, given: Sequence[tuple[Tensor, Tensor]], model: nn.Module | None = None
) -> dict[str, Tensor]:
    """The weights after these steps of the loop in the README."""
    model = steps.prepare(network() if model is None else model).train()
    optimizer = sgd(model)
    for images, labels in given:
        optimizer.zero_grad()
        for term in steps.terms(model, images, labels):
            term.backward()
        optimizer.step()
    return model.state_dict()


def shares_told(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What every step from now on is told of the share of the training that is done."""
    shares, original = list[float](), OwnLoop.terms

    def noted(self: OwnLoop, model: nn.Module, x: Tensor, y: Tensor, progress: float) -> Any:
        shares.append(progress)
        return original(self, model, x, y, progress)

    monkeypatch.setattr(OwnLoop, "terms", noted)
    return shares


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    """Whether all weights and statistics are equal, bit for bit."""
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
