"""Balls and ranges against their definition, value by value, in every unit and with every clip."""

from math import sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from wording import says

from vicinal.attacks.threat import Threat
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.models.normalized import Normalize

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
NORMS = ("linf", "l2")
UNITS = ("pixels", "normalized")
CLIPS = ("pixels", "none", "normalized", "batches_of_100")


def network() -> nn.Module:
    return nn.Sequential(Normalize(MEAN, STD), nn.Flatten()).double()


def images(count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, 4, 5, generator=generator, dtype=torch.float64)


def normalized(x: Tensor) -> Tensor:
    return torch.stack([(x[:, c] - MEAN[c]) / STD[c] for c in range(3)], dim=1)


def projected(x: Tensor, moved: Tensor, epsilon: float, norm: str, units: str) -> Tensor:
    """In the units of ε: each value into its interval, or the whole shift scaled down."""
    scale = STD if units == "normalized" else (1.0, 1.0, 1.0)
    out = moved.clone()
    for i in range(len(x)):
        shift = [
            (moved[i, c, row, column] - x[i, c, row, column]).item() / scale[c]
            for c, row, column in torch.cartesian_prod(*map(torch.arange, (3, 4, 5))).tolist()
        ]
        length = sqrt(sum(each**2 for each in shift))
        for place, value in enumerate(shift):
            c, row, column = place // 20, place % 20 // 5, place % 5
            if norm == "linf":
                kept = min(max(value, -epsilon), epsilon)
            else:
                kept = value * min(1.0, epsilon / length)
            out[i, c, row, column] = x[i, c, row, column] + kept * scale[c]
    return out


def clipped(x: Tensor, moved: Tensor, clip: str) -> Tensor:
    z = normalized(x)
    for place in torch.cartesian_prod(*map(torch.arange, moved.shape)).tolist():
        i, c, row, column = place
        low, high = {
            "pixels": (0.0, 1.0),
            "none": (float("-inf"), float("inf")),
            "normalized": (MEAN[c], MEAN[c] + STD[c]),
            "batches_of_100": tuple(
                MEAN[c] + STD[c] * limit(z[i // 100 * 100 : i // 100 * 100 + 100]).item()
                for limit in (torch.amin, torch.amax)
            ),
        }[clip]
        moved[i, c, row, column] = min(max(moved[i, c, row, column].item(), low), high)
    return moved


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("norm", NORMS)
def test_a_projection_is_the_nearest_image_then_clipped(norm: Any, units: Any, clip: Any) -> None:
    x = images()
    moved = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double() / 10
    moved[1] = x[1] + 0.001  # within the ball already
    epsilon = {"linf": 0.1, "l2": 0.9}[norm]
    ours = Threat(epsilon, norm, units, clip).around(network(), x).project(moved)
    expected = clipped(x, projected(x, moved, epsilon, norm, units), clip)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)  # mean and std are float32


def test_the_range_of_a_batch_is_that_of_its_hundred() -> None:
    x = images(230) * torch.tensor([0.5] * 100 + [0.7] * 100 + [0.9] * 30).double().view(
        -1, 1, 1, 1
    )
    moved = torch.where(
        torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5, -9.0, 9.0
    )
    region = Threat(None, "linf", "normalized", "batches_of_100").around(network(), x)
    expected = clipped(x, moved.double(), "batches_of_100")
    torch.testing.assert_close(region.project(moved.double()), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("norm", NORMS)
def test_nobody_leaves_the_ball_or_the_range_and_without_a_bound_everybody_may(
    norm: Any, units: Any
) -> None:
    x, model = images(), network()
    moved = x + 3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double()
    region = Threat(0.2, norm, units).around(model, x)
    found = region.project(moved)
    assert (region.distance(found) <= 0.2 + 1e-12).all()
    assert 0 <= found.min() <= found.max() <= 1
    free = Threat(None, norm, units, "none").around(model, x)
    torch.testing.assert_close(free.project(moved), moved, rtol=0, atol=1e-12)
    assert torch.equal(Threat(0.0, norm, units).around(model, x).project(moved), x)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("norm", NORMS)
def test_the_steepest_shift_has_length_1_and_raises_a_linear_loss_most(
    norm: Any, units: Any
) -> None:
    generator = torch.Generator().manual_seed(3)
    x, slope = images(), torch.randn((3, 3, 4, 5), generator=generator).double()
    region = Threat(1.0, norm, units, "none").around(network(), x)
    shift = region.steepest(slope)
    torch.testing.assert_close(region.distance(x + shift), torch.ones(3).double())
    rise = (slope * shift).flatten(1).sum(1)
    for _ in range(200):
        other = torch.randn(x.shape, generator=generator).double()
        other = other / region.distance(x + other).view(-1, 1, 1, 1)
        assert ((slope * other).flatten(1).sum(1) < rise).all()
    assert torch.equal(region.steepest(torch.zeros_like(x)), torch.zeros_like(x))


def test_a_start_is_uniform_in_the_ball() -> None:
    """In L∞ every value is; in L2 the share of draws within r is (r / ε) to the power of d."""
    x = torch.full((4000, 1, 1, 2), 0.5, dtype=torch.float64)
    model = nn.Flatten()
    values = Threat(0.3).around(model, x).start(Rng.seeded(0)) - x
    assert 0.299 < values.abs().max() <= 0.3
    assert abs(values.abs().mean() - 0.15) < 5 * 0.3 / sqrt(12 * 8000)
    region = Threat(0.4, "l2").around(model, x)
    radii = region.distance(region.start(Rng.seeded(0)))
    assert 0.39 < radii.max() <= 0.4 + 1e-12
    for share in (0.25, 0.5, 0.75):
        inside = (radii <= 0.4 * share).double().mean().item()
        assert abs(inside - share**2) < 5 * sqrt(share**2 * (1 - share**2) / 4000)
    upwards = ((region.start(Rng.seeded(1)) - x)[:, 0, 0, 0] > 0).double().mean().item()
    assert abs(upwards - 0.5) < 5 * 0.5 / sqrt(4000)


def test_a_network_that_does_not_normalise_has_no_normalised_units() -> None:
    for threat in (Threat(0.1, units="normalized"), Threat(0.1, clip="normalized")):
        with pytest.raises(RunError, match=says("^units ... clip ... pixels ... normalise")):
            threat.around(nn.Flatten(), images())
