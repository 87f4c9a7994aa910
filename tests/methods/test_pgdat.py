"""Adversarial training by PGD: what is trained on, and what is refused."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.attacks.pgd import Pgd
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.methods.pgdat import Pgdat
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5)]
    return nn.Sequential(*layers).double()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(6, 3, 5, 5, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.randint(5, (6,), generator=generator), 5).double()


@pytest.mark.parametrize("vicinity", [Identity(), Mixup()], ids=repr)
def test_it_trains_in_train_mode_on_what_the_attack_in_eval_mode_finds(vicinity: Mixup) -> None:
    x, y = batch()
    model, twin = network(), network()
    (ours,) = Pgdat(vicinity, epsilon=0.1, step=0.03, steps=4)(model, x, y, Rng.seeded(0))
    rng = Rng.seeded(0)
    x, y = vicinity(x, y, rng)
    x = Pgd.of_pixels(0.1, 0.03, 4)(twin, x, y, rng)
    expected = cross_entropy(twin(x), y).mean()
    assert torch.equal(ours, expected)
    for a, b in zip(model.buffers(), twin.buffers(), strict=True):
        assert torch.equal(a, b)
    gradients = (
        torch.autograd.grad(of[0], list(of[1].parameters()))
        for of in ((ours, model), (expected, twin))
    )
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)


def test_of_no_radius_it_is_empirical_risk() -> None:
    x, y = batch()
    (ours,) = Pgdat(Identity(), epsilon=0)(network(), x, y, Rng.seeded(0))
    assert torch.equal(ours, cross_entropy(network()(x), y).mean())


@pytest.mark.parametrize("settings", [{"epsilon": -0.1}, {"step": -0.1}, {"steps": 0}], ids=repr)
def test_settings_without_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=says(f"{next(iter(settings))}")):
        Pgdat(Identity(), **settings)
