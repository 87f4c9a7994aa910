"""DeepFool against Algorithm 2, foolbox and the closed form for an affine network."""

from typing import Literal

import pytest
import torch
from oracles.deepfool import deepfool
from smallest_samples import batch, beside_foolbox, frozen, network, norms
from torch import nn

from vicinal.attacks.deepfool import DeepFool
from vicinal.attacks.threat import Threat
from vicinal.draws import Rng

Norm = Literal["l2", "linf"]
BOTH = pytest.mark.parametrize("norm", ["l2", "linf"])


@BOTH
@pytest.mark.parametrize("candidates", [2, 4, 20])
def test_deepfool_equals_algorithm_2(norm: Norm, candidates: int) -> None:
    x, y = batch(8)
    settings = {"steps": 4, "candidates": candidates, "overshoot": 0.02}
    ours = DeepFool(Threat(None, norm), **settings)(network(), x, y, Rng.seeded(0))
    model = frozen()
    for image, label, found in zip(x, y.argmax(1).tolist(), ours, strict=True):
        expected = deepfool(model, image, label, norm=norm, **settings)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@BOTH
def test_an_affine_network_is_fooled_at_its_boundary(norm: Norm) -> None:
    """|f| / ||w||_q, with q = 2 or 1; and all pixels inside, so that clipping does not matter."""
    x, _ = batch(6)
    x = 0.4 + 0.2 * x
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double()
    with torch.no_grad():
        y = torch.eye(2).double()[model(x).argmax(1)]
        margin = model(x).diff(dim=1).abs().flatten()
    w = model[1].weight.detach().diff(dim=0).flatten()
    expected = margin / (w.norm() if norm == "l2" else w.abs().sum())
    found = DeepFool(Threat(None, norm), steps=3)(model, x, y, Rng.seeded(0))
    lengths = 1.02 * (expected + 1e-4)
    torch.testing.assert_close(norms(found - x, norm), lengths, rtol=1e-9, atol=0)


@BOTH
def test_images_that_the_network_will_not_be_fooled_by_come_back(norm: Norm) -> None:
    """Where nothing depends on the pixels, nothing is found."""
    x, y = batch(4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double()
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.arange(10.0))
    y = torch.eye(10).double()[torch.tensor([9, 9, 9, 0])]
    assert torch.equal(DeepFool(Threat(None, norm), 3)(model, x, y, Rng.seeded(0)), x)


@BOTH
@pytest.mark.parametrize("at", [None, {"l2": 0.4, "linf": 0.08}])
@pytest.mark.filterwarnings("ignore:Please import `gaussian_filter`:DeprecationWarning")
def test_deepfool_is_foolboxs(norm: Norm, at: dict[Norm, float] | None) -> None:
    foolbox = pytest.importorskip("foolbox")
    theirs = {"l2": foolbox.attacks.L2DeepFoolAttack, "linf": foolbox.attacks.LinfDeepFoolAttack}
    epsilon = None if at is None else at[norm]
    beside_foolbox(DeepFool(Threat(epsilon, norm)), theirs[norm](), atol=1e-8)


def test_steps_that_do_not_suffice_leave_the_image() -> None:
    x, y = batch(24)
    attack = DeepFool(Threat(None, "l2"), steps=1, overshoot=0)
    found = attack(network(), x, y, Rng.seeded(0))
    with torch.no_grad():
        still = frozen()(found).argmax(1) == y.argmax(1)
    assert 0 < still.sum() < 24
    assert torch.equal(found[still], x[still])
