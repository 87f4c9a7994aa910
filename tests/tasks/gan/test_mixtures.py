"""The toy sets are those that the authors' code draws."""

from math import cos, pi, sin

import pytest
import torch

from vicinal.draws import Rng
from vicinal.tasks.gan.mixtures import grid, ring


def test_the_rings_centres_are_an_eighth_of_a_turn_apart() -> None:
    expected = [[sin(2 * pi * k / 8), cos(2 * pi * k / 8)] for k in range(8)]
    torch.testing.assert_close(ring().centres, torch.tensor(expected))


def test_the_grid_has_every_half_unit_of_the_square_once() -> None:
    expected = {(x / 2, y / 2) for x in range(-2, 3) for y in range(-2, 3)}
    centres = [tuple(centre) for centre in grid().centres.tolist()]
    assert set(centres) == expected
    assert len(centres) == 25


@pytest.mark.parametrize("mixture", [ring(), grid()], ids=["ring", "grid"])
def test_modes_are_equally_likely_round_and_as_wide_as_they_say(mixture) -> None:
    points = mixture.sample(20_000, Rng.seeded(0))
    mode = torch.cdist(points, mixture.centres).argmin(dim=1)
    offsets = points - mixture.centres[mode]
    covariance = torch.cov(offsets.T)
    torch.testing.assert_close(covariance, 0.01**2 * torch.eye(2), rtol=0, atol=3e-6)
    counts, fair = torch.bincount(mode).double(), 20_000 / len(mixture.centres)
    assert ((counts - fair).abs() < 5 * fair**0.5).all()
