"""AugMix against Alg. 1 of its paper."""

import pytest
import torch
from chain_samples import drawn
from oracles import chains as oracle
from wording import says

from vicinal.draws import Rng, beta, dirichlet
from vicinal.images.chains import Plan, rendered
from vicinal.vicinities.augmix import AugMix


@pytest.mark.parametrize("seed", range(3))
def test_augmix_equals_algorithm_1(seed: int) -> None:
    images, view = drawn(9, 6), AugMix(severity=2.0, width=4)
    x, y = images.double() / 255, torch.eye(6, dtype=torch.float64)
    ours, targets = view(x, y, Rng.seeded(seed))
    rng = Rng.seeded(seed)
    chains = rendered(x, Plan.drawn(6, 4, None, 2.0, rng))
    w, m = dirichlet(6, 4, rng), beta(1.0, 6, rng)
    for i in range(6):
        expected = oracle.mixture(x[i], list(chains[i]), m[i].item(), w[i].tolist())
        torch.testing.assert_close(ours[i], expected, rtol=1e-12, atol=1e-12)
    assert targets is y
    assert torch.equal(x, images.double() / 255)


def test_weights_are_uniform_on_the_simplex() -> None:
    w = dirichlet(20_000, 3, Rng.seeded(0))
    torch.testing.assert_close(w.sum(dim=1), torch.ones(20_000, dtype=torch.float64))
    assert (w.mean(dim=0) - 1 / 3).abs().max() < 0.01
    assert (w.var(dim=0) - 1 / 18).abs().max() < 0.003  # Beta(1, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"severity": 0.0}, "^severity ... 0.1 ... 10 ... 0.0"),
        ({"width": 0}, "^width ... 1 ... 0"),
        ({"depth": 0}, "^depth ... 1 ... 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message: str) -> None:
    with pytest.raises(ValueError, match=says(message)):
        AugMix(**settings)
