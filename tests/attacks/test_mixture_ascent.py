"""The ascent over mixture weights against Alg. 1 of AugMax."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from augmax_samples import batch, network
from oracles import augmax as oracle
from torch import Tensor, nn

from vicinal.attacks.mixture import MixtureAscent
from vicinal.draws import Rng
from vicinal.images.chains import Plan, rendered
from vicinal.surgery.dubin import DuBN, routed, with_norm
from vicinal.surgery.modes import evaluating

STOPS = [("none", 1), ("paper", 1), ("paper", 2), ("intended", 1), ("intended", 3)]


def smooth() -> nn.Module:
    """Without kinks or norms, so that differences give the gradient's sign."""
    torch.manual_seed(1)
    layers = [nn.Flatten(), nn.Linear(75, 12), nn.Tanh(), nn.Linear(12, 3)]
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


@pytest.mark.parametrize(("early_stop", "k"), STOPS)
def test_the_ascent_equals_algorithm_1(early_stop: Any, k: int) -> None:
    model, (x, y) = smooth(), batch(6, 5, 3)
    chains = rendered(x, Plan.drawn(6, 3, None, 9.0, Rng.seeded(3)))
    search = MixtureAscent(4, 0.1, early_stop, k)
    ours = search(model, x, y, Rng.seeded(0), chains=chains)
    start = torch.rand((6, 4), generator=Rng.seeded(0).cpu).double()
    for i in range(6):
        expected = oracle.ascent(
            lambda image: model(image[None])[0].tolist(),
            x[i],
            y[i].tolist(),
            list(chains[i]),
            start[i].tolist(),
            **{"steps": 4, "size": 0.1, "early_stop": early_stop, "k": k},
        )
        torch.testing.assert_close(ours[i], expected, rtol=1e-12, atol=1e-12)


def test_the_interpretations_of_early_stopping_differ() -> None:
    model, (x, y) = smooth(), batch(6, 5, 3)
    chains = rendered(x, Plan.drawn(6, 3, None, 9.0, Rng.seeded(3)))
    found = [
        MixtureAscent(4, 0.1, *stop)(model, x, y, Rng.seeded(0), chains=chains) for stop in STOPS
    ]
    assert all(not torch.equal(a, b) for a, b in pairwise(found))


class Brightness(nn.Module):
    """Two logits whose loss for class 0 grows with the image's mean."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(1, 2, 3))
        return torch.stack([-mean, mean], dim=1)


@pytest.mark.parametrize(("steps", "most"), [(10, 0.909), (5, 0.787)])
def test_weights_never_reach_a_vertex(steps: int, most: float) -> None:
    """p starts in [0, 1)³ and moves by at most n α: w = e^(1 + nα) / (.. + 2 e^(-nα)) at most."""
    x, y = torch.zeros(4000, 1, 1, 1), torch.tensor([[1.0, 0.0]]).expand(4000, 2)
    chains = (
        torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1, 1).expand(4000, -1, 1, 1, 1)
    )
    search = MixtureAscent(steps, 0.1)
    worst = search(
        Brightness(), x, y, Rng.seeded(0), chains=chains
    ).flatten()  # m w_1, and m is at most 1
    assert most - 0.06 < worst.max() <= most + 0.001
    if steps == 10:
        lowest = torch.tensor(1.0).exp() / (1.0 + torch.tensor(1.0).exp() * 2)
        assert worst.min() > lowest  # every m has reached 1 and every w_1 has grown


def test_samples_are_searched_independently() -> None:
    model, (x, y) = network(), batch()
    chains = rendered(x, Plan.drawn(8, 3, None, 3.0, Rng.seeded(0)))
    start = Rng.seeded(0)
    together = MixtureAscent(4, 0.1)(model, x, y, start, chains=chains)
    first = MixtureAscent(4, 0.1)(model, x[:5], y[:5], Rng.seeded(0), chains=chains[:5])
    torch.testing.assert_close(together[:5], first)


def test_the_ascent_uses_the_running_statistics_of_the_route_that_is_on() -> None:
    x, y = batch()
    model = with_norm(network(), "dubin")
    chains = rendered(x, Plan.drawn(8, 3, None, 9.0, Rng.seeded(0)))
    for module in model.modules():
        if isinstance(module, DuBN):
            nn.init.normal_(module.main.running_mean)
    search, found = MixtureAscent(2, 0.1), {}
    for route in ("A", "M"):
        with routed(model, route):
            found[route] = search(model, x, y, Rng.seeded(0), chains=chains)
    with evaluating(model):
        fresh = search(with_norm(network(), "dubin"), x, y, Rng.seeded(0), chains=chains)
    assert torch.equal(found["A"], fresh)
    assert not torch.equal(found["M"], fresh)
