"""What every attack in configs/attack promises; a new one is tested unasked."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from evaluation_samples import network, unchanged
from every_attack import ATTACKS, batch, made, small

from vicinal.attacks.threat import Threat
from vicinal.draws import Rng

EACH = pytest.mark.parametrize("name", ATTACKS)


def reach(threat: Threat) -> float:
    return 0.05 if threat.norm == "linf" else 0.5


@EACH
def test_it_fools_the_network_within_the_ball_and_the_cube(name: str) -> None:
    model = small()
    x, y = batch(model)
    attack = made(name, epsilon=reach(made(name).threat))
    found = attack(model, x, y, Rng.seeded(0))
    assert 0 <= found.min() <= found.max() <= 1
    region = attack.threat.around(model, x)
    assert (region.distance(found) <= region.epsilon * (1 + 1e-5)).all()
    assert (model(found).argmax(1) != y.argmax(1)).sum() >= 3


@EACH
def test_no_radius_leaves_the_image(name: str) -> None:
    model = small()
    x, y = batch(model)
    assert torch.equal(made(name, epsilon=0.0)(model, x, y, Rng.seeded(0)), x)


@EACH
@pytest.mark.parametrize("outside", [torch.no_grad, torch.enable_grad])
def test_it_leaves_the_network_the_images_and_the_generators_of_torch_alone(
    name: str, outside: Callable[[], AbstractContextManager[object]]
) -> None:
    model = network()
    x, y = batch(network())
    inputs, state = x.clone(), torch.get_rng_state()
    with outside(), unchanged(model):
        found = made(name)(model, x, y, Rng.seeded(0))
    assert not found.requires_grad
    assert torch.equal(x, inputs)
    assert torch.equal(torch.get_rng_state(), state)


@EACH
def test_an_image_is_attacked_regardless_of_its_company(name: str) -> None:
    model = small()
    x, y = batch(model)
    attack, rng = made(name, epsilon=reach(made(name).threat)), Rng.seeded(0)
    together = attack(model, x, y, rng.of_rows(range(8)))
    others = attack(model, x[2:5], y[2:5], rng.of_rows(range(2, 5)))
    torch.testing.assert_close(together[2:5], others, rtol=0, atol=1e-5)
    again = attack(model, x, y, rng.of_rows(range(8)))
    assert torch.equal(together, again)
