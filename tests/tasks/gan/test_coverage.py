"""The measures on points whose answers are known."""

from math import log

import pytest
import torch
from oracles import gan as oracle
from torch import Tensor

from vicinal.draws import Rng
from vicinal.tasks.gan.coverage import GOOD_OF_REAL, coverage, energy_distance
from vicinal.tasks.gan.mixtures import Mixture, grid, ring

MIXTURES = pytest.mark.parametrize("data", [ring(), grid()], ids=["ring", "grid"])


def real(data: Mixture, seed: int = 0, count: int = 2500) -> Tensor:
    return data.sample(count, Rng.seeded(seed))


@MIXTURES
def test_the_mixture_covers_itself(data: Mixture) -> None:
    found = coverage(real(data), real(data, seed=1), data)
    assert found.modes_hit == found.modes_held == len(data.centres)
    assert found.good_share == pytest.approx(GOOD_OF_REAL, abs=0.007)  # 3 standard errors
    assert found.kl == pytest.approx(0, abs=0.02)
    assert found.energy_distance == pytest.approx(0, abs=0.003)


@MIXTURES
def test_one_mode_is_one_mode(data: Mixture) -> None:
    found = coverage(data.centres[[3] * 100], real(data), data)
    assert (found.good_share, found.modes_hit, found.modes_held) == (1.0, 1, 1)
    assert found.kl == pytest.approx(log(len(data.centres)))
    assert found.energy_distance > 0.5


def test_half_of_the_modes_at_half_the_share_of_points() -> None:
    far = torch.full((100, 2), 7.0)
    found = coverage(torch.cat([ring().centres[::2].repeat(25, 1), far]), real(ring()), ring())
    assert (found.good_share, found.modes_hit, found.modes_held) == (0.5, 4, 4)
    assert found.kl == pytest.approx(log(2))


def test_good_ends_at_three_standard_deviations() -> None:
    for offset, share in ((0.0299, 1.0), (0.0301, 0.0)):
        found = coverage(ring().centres + torch.tensor([offset, 0.0]), real(ring()), ring())
        assert found.good_share == share
        assert (found.kl is None) == (share == 0)


def test_held_begins_at_a_tenth_of_the_fair_share() -> None:
    others = torch.zeros(800, 2)  # no mode of the ring; 100 points would be fair
    for count, held in ((10, 1), (9, 0)):
        points = torch.cat([ring().centres[[0] * count], others[count:]])
        found = coverage(points, real(ring()), ring())
        assert (found.modes_hit, found.modes_held) == (1, held)


def test_even_noise_hits_most_of_the_grids_modes_and_holds_none() -> None:
    """Why a mode needs more than a point."""
    points = 2 * torch.rand(2500, 2, generator=torch.Generator().manual_seed(0)) - 1
    found = coverage(points, real(grid()), grid())
    assert found.modes_hit >= 15
    assert found.modes_held == 0


def test_the_measures_equal_loops_over_points() -> None:
    points = real(grid(), count=60) + 0.02
    found = coverage(points, real(grid(), seed=1, count=50), grid())
    counts = oracle.good_points(points.double(), grid().centres.double(), grid().std)
    assert 0 < sum(counts) < 60
    assert found.good_share == sum(counts) / 60
    assert found.modes_hit == sum(count > 0 for count in counts)
    shares = [count / sum(counts) for count in counts]
    assert found.kl == pytest.approx(sum(p * log(25 * p) for p in shares if p))
    expected = oracle.energy_distance(points, real(grid(), seed=1, count=50))
    assert found.energy_distance == pytest.approx(expected, rel=1e-9)


def test_the_energy_distance_is_a_distance() -> None:
    a, b = real(ring(), count=300).double(), real(grid(), count=200).double()
    assert energy_distance(a, a) == pytest.approx(0, abs=1e-12)
    assert energy_distance(a, b) == pytest.approx(energy_distance(b, a), rel=1e-12)
    assert 0 < energy_distance(a, a + 0.1) < energy_distance(a, a + 0.2)
    # Two single points, |a - b| apart: 2 |a - b|.
    assert energy_distance(a[:1], a[:1] + torch.tensor([3.0, 4.0])) == pytest.approx(10)
