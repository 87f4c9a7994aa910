"""T of GradAug against literal loops, and its draws."""

from collections import Counter

import pytest
import torch
from oracles.gradaug import resized, turned
from torch import Tensor
from wording import says

from vicinal.draws import Rng
from vicinal.models.normalized import Normalize
from vicinal.vicinities.scale_rotate import ScaleRotate

Y = torch.eye(3, dtype=torch.float64)


def images(side: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, 3, side, side, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_a_quarter_turn_and_then_a_bilinear_resize(seed: int) -> None:
    x, shared = images(), Rng.seeded(seed).shared
    turns = int(torch.randint(4, (), generator=shared))
    size = (8, 6, 4)[int(torch.randint(3, (), generator=shared))]
    expected = turned(x, turns)
    if size != 8:
        expected = resized(expected, size)
    ours, y = ScaleRotate([1.0, 0.75, 0.5], rotate=True)(x, Y, Rng.seeded(seed))
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    assert y is Y


def test_sizes_and_angles_are_uniform_and_equal_on_all_ranks() -> None:
    x = torch.arange(64, dtype=torch.float64).view(1, 1, 8, 8)
    transform, ranks = ScaleRotate(rotate=True), [Rng.seeded(0, rank) for rank in range(2)]
    seen = Counter()
    for _ in range(1200):
        here, there = (transform(x, Y[:1], rng)[0] for rng in ranks)
        assert torch.equal(here, there)
        seen[here.shape[-1], int(here.argmax())] += 1
    assert sorted({size for size, _ in seen}) == [6, 7, 8]
    assert len(seen) == 12
    assert all(abs(count - 100) < 4.5 * 100**0.5 for count in seen.values())
    assert not torch.equal(*(torch.rand(4, generator=rng.cpu) for rng in ranks))


def test_resizing_commutes_with_normalising() -> None:
    x, normalize = images(), Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)).double()
    small = ScaleRotate([0.75])
    first, _ = small(normalize(x), Y, Rng.seeded(0))
    second = normalize(small(x, Y, Rng.seeded(0))[0])
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("side", "shares", "sizes"),
    [
        (32, [1.0, 0.875, 0.75], [32, 28, 24]),
        (96, [1.0, 0.875, 0.75], [96, 84, 72]),
        (224, [1, 0.8571, 0.7143, 0.5714], [224, 192, 160, 128]),
    ],
)
def test_shares_are_the_papers_sizes(side: int, shares: list[float], sizes: list[int]) -> None:
    x = torch.zeros(1, 1, side, side)
    found = [ScaleRotate([share])(x, Y[:1], Rng.seeded(0))[0].shape[-1] for share in shares]
    assert found == sizes


def test_a_share_of_one_leaves_images_as_they_are() -> None:
    x = torch.rand(5, 3, 7, 6)
    assert ScaleRotate([1.0])(x, torch.eye(5), Rng.seeded(0))[0] is x


@pytest.mark.parametrize("scales", [[], [0.0], [1.0, -0.5]])
def test_scales_are_checked(scales: list[float]) -> None:
    with pytest.raises(ValueError, match=says("^scales")):
        ScaleRotate(scales)
