"""SmoothAdv: what it attacks and trains on, how its radius grows, and what is refused."""

import pytest
import torch
from oracles import smooth_adv as oracle
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.methods.smooth_adv import SmoothAdv, Smoothed
from vicinal.vicinities.gaussian_noise import GaussianNoise
from vicinal.vicinities.mixup import Mixup

EXACT = {"rtol": 1e-9, "atol": 1e-9}


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(36, 5)]
    model = nn.Sequential(*layers).double()
    model(torch.rand(20, 3, 5, 5, dtype=torch.float64))  # statistics that do something
    return model


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(6, 3, 5, 5, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.randint(5, (6,), generator=generator), 5).double()


def noise(copies: int, sigma: float) -> list[list[Tensor]]:
    """What the vicinity adds to each image in each draw."""
    x = batch()[0].repeat(copies, 1, 1, 1)
    drawn = sigma * torch.randn(x.shape, generator=Rng.seeded(0).device, dtype=x.dtype)
    return [list(each) for each in drawn.chunk(copies)]


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("steps", [1, 4])
def test_a_step_is_that_of_equation_5_image_by_image(copies: int, steps: int) -> None:
    (x, y), model, twin = batch(), network(), network()
    method = SmoothAdv(GaussianNoise(0.3), epsilon=0.8, steps=steps, copies=copies)
    (ours,) = method(model, x, y, Rng.seeded(0), progress=0.5)
    labels = y.argmax(1).tolist()
    expected = oracle.loss(twin, x, labels, noise(copies, 0.3), 0.8, steps)
    torch.testing.assert_close(ours, expected, **EXACT)
    for a, b in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(a, b, **EXACT)
    gradients = (
        torch.autograd.grad(loss, list(of.parameters()))
        for loss, of in ((ours, model), (expected, twin))
    )
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


def test_the_smoothed_network_has_the_mean_of_the_probabilities() -> None:
    model, (x, _), drawn = network().eval(), batch(), noise(3, 0.3)
    found = Smoothed(model, torch.cat([torch.stack(each) for each in drawn]), 3)(x).exp()
    expected = sum(model(x + torch.stack(each)).softmax(1) for each in drawn) / 3
    torch.testing.assert_close(found, expected, **EXACT)
    torch.testing.assert_close(found.sum(1), torch.ones(6, dtype=torch.float64), **EXACT)


@pytest.mark.parametrize(
    ("warmup", "progress", "share"),
    [(0.1, 0.0, 0.0), (0.1, 0.05, 0.5), (0.1, 0.1, 1.0), (0.1, 0.9, 1.0), (0.0, 0.0, 1.0)],
)
def test_the_radius_grows_over_the_warm_up_and_the_steps_with_it(
    warmup: float, progress: float, share: float
) -> None:
    method = SmoothAdv(GaussianNoise(0.25), epsilon=0.5, steps=4, warmup=warmup)
    attack, (x, y) = method.attack(progress), batch()
    assert attack.threat.epsilon == pytest.approx(0.5 * share)
    assert attack.step * attack.steps == 2
    moved = attack.threat.around(network(), x).distance(attack(network(), x, y, Rng.seeded(0)))
    assert moved.max() <= 0.5 * share + 1e-9
    assert bool((moved > 0.4 * share).all()) == (share > 0)
    (ours,) = method(network(), x, y, Rng.seeded(0), progress=progress)
    radius = SmoothAdv(GaussianNoise(0.25), epsilon=0.5 * share, steps=4, warmup=0)
    (expected,) = radius(network(), x, y, Rng.seeded(0))
    torch.testing.assert_close(ours, expected, **EXACT)


def test_of_no_radius_it_is_the_risk_of_the_noisy_copies() -> None:
    (x, y), vicinity = batch(), Mixup()
    (ours,) = SmoothAdv(vicinity, epsilon=0, copies=3)(network(), x, y, Rng.seeded(0))
    copies = vicinity(torch.cat([x] * 3), torch.cat([y] * 3), Rng.seeded(0))
    expected = cross_entropy(network()(copies[0]), copies[1]).mean()
    torch.testing.assert_close(ours, expected, **EXACT)


@pytest.mark.parametrize(
    "settings", [{"epsilon": -0.1}, {"steps": 0}, {"copies": 0}, {"warmup": 1.5}], ids=repr
)
def test_settings_without_sense_are_refused(settings: dict[str, float]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=says(f"^{name} ... {value}")):
        SmoothAdv(GaussianNoise(0.25), **settings)
