"""What holds for corrupted images of every kind, size and severity."""

from itertools import pairwise

import pytest
import torch
from corruption_samples import FIXED, photographs
from torch import Tensor
from wording import says

from vicinal.draws import Rng
from vicinal.images.corruptions import corrupt
from vicinal.images.corruptions.blur import displaced
from vicinal.images.corruptions.corrupt import COMMON, EXTRA, TABLE, corrupted
from vicinal.images.corruptions.noise import impulse_noise, shot_noise
from vicinal.images.corruptions.severities import PUBLISHED, published_side
from vicinal.images.corruptions.weather import plasma

WITHOUT_PICTURES = [name for name in TABLE if name != "frost"]
# Each next severity has more of the same. Motion blur at 32 pixels has not: its severities 3 and 4
# differ by the faintest tail of the blur. Frost and snow brighten and dim, which partly cancel.
GROWING = {
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    *("defocus_blur", "zoom_blur", "gaussian_blur"),
    *("fog", "brightness", "contrast", "pixelate", "jpeg_compression"),
}


def test_the_fifteen_and_the_four_in_the_official_order() -> None:
    assert COMMON[:3] == ("gaussian_noise", "shot_noise", "impulse_noise")
    assert COMMON[3:7] == ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")
    assert COMMON[7:11] == ("snow", "frost", "fog", "brightness")
    assert COMMON[11:] == ("contrast", "elastic_transform", "pixelate", "jpeg_compression")
    assert EXTRA == ("speckle_noise", "gaussian_blur", "spatter", "saturate")
    assert all(set(constants) == set(PUBLISHED) for _, constants in TABLE.values())


# Sums over severities of the numbers in the three scripts that made CIFAR-10-C, Tiny-ImageNet-C and
# ImageNet-C; elastic_transform's are pixels there.
SUMS = {
    "gaussian_noise": (0.37, 0.57, 1.02),
    "shot_noise": (975, 445, 105),
    "impulse_noise": (0.18, 0.3, 0.62),
    "defocus_blur": (5.5, 9.41, 33.1),
    "glass_blur": (13.35, 16.8, 27.2),
    "motion_blur": (44, 62, 118),
    "zoom_blur": (5.85, 5.85, 6.14),
    "snow": (99.75, 98.9, 120.45),
    "frost": (6.25, 6.35, 6.9),
    "fog": (16.2, 17.85, 20.1),
    "brightness": (0.8, 1.5, 1.5),
    "contrast": (2.1, 1.05, 1.05),
    "elastic_transform": (30.4 / 32, 70.4 / 64, 1320.04 / 224),
    "pixelate": (4.1, 3.5, 2.05),
    "jpeg_compression": (293, 238, 75),
    "speckle_noise": (0.64, 1.25, 1.75),
    "gaussian_blur": (3.5, 5, 16),
    "spatter": (15.78, 16.06, 25.92),
    "saturate": (6.7, 37.7, 27.7),
}


@pytest.mark.parametrize("name", TABLE)
def test_constants_add_up_to_those_of_the_scripts(name: str) -> None:
    found = [sum(map(sum, TABLE[name][1][side])) for side in PUBLISHED]
    assert found == pytest.approx(SUMS[name], rel=1e-9)


@pytest.mark.parametrize(
    ("height", "width", "side"),
    [
        *[(8, 8, 32), (45, 45, 32), (46, 46, 64), (96, 96, 64), (119, 119, 64), (120, 120, 224)],
        *[(500, 32, 32), (64, 500, 64), (299, 299, 224)],
    ],
)
def test_other_sizes_take_the_nearest_constants_by_the_shorter_side(
    height: int, width: int, side: int
) -> None:
    assert published_side(height, width) == side


@pytest.mark.parametrize("name", WITHOUT_PICTURES)
@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (40, 33), (33, 70)])
def test_images_of_any_size_stay_bytes_and_the_input_is_left(
    name: str, shape: tuple[int, int]
) -> None:
    x = torch.randint(256, (3, 3, *shape), generator=torch.Generator().manual_seed(0))
    x = x.to(torch.uint8)
    before = x.clone()
    for severity in (1, 5):
        changed = corrupted(name, severity, x, Rng.seeded(0))
        assert changed.dtype == torch.uint8
        assert changed.shape == x.shape
        assert torch.equal(x, before)
        assert not torch.equal(changed, x)


@pytest.mark.parametrize("name", WITHOUT_PICTURES)
def test_one_fork_gives_the_same_pixels_and_another_gives_others(name: str) -> None:
    x, rng = photographs(32, 6), Rng.seeded(0)
    first = corrupted(name, 3, x, rng.fork(1))
    assert torch.equal(first, corrupted(name, 3, x, rng.fork(1)))
    assert torch.equal(first, corrupted(name, 3, x, rng.fork(2))) == (name in FIXED)


@pytest.mark.parametrize("name", sorted({*WITHOUT_PICTURES} - FIXED))
def test_every_image_has_draws_of_its_own(name: str) -> None:
    x = photographs(32, 6)[:1].expand(8, -1, -1, -1)
    changed = corrupted(name, 4, x, Rng.seeded(0))
    assert len({image.numpy().tobytes() for image in changed}) == 8


@pytest.mark.parametrize("name", sorted(FIXED))
@pytest.mark.parametrize("held", [1, 1 << 14, 1 << 30])
def test_without_draws_an_image_depends_on_no_neighbour(
    name: str, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = photographs(32, 12)
    alone = torch.cat([corrupted(name, 4, image[None], Rng.seeded(0)) for image in x])
    monkeypatch.setattr(corrupt, "CACHED", held)  # values in a piece
    monkeypatch.setattr(corrupt, "FEWEST", 1)
    assert torch.equal(corrupted(name, 4, x, Rng.seeded(0)), alone)


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("name", sorted(GROWING))
def test_images_change_more_at_each_severity(name: str, side: int) -> None:
    x = photographs(side, 12)[:-1]
    changes = [
        (corrupted(name, severity, x, Rng.seeded(0)).float() - x).abs().mean()
        for severity in range(1, 6)
    ]
    assert all(less < more for less, more in pairwise(changes))


def glass(width: int, right: int, down: int, reach: int) -> Tensor:
    """A square image of numbers, after one pass with the same move everywhere."""
    x = torch.arange(width * width, dtype=torch.uint8).view(1, 1, width, width)
    moves = torch.ones(1, width, width, dtype=torch.int64)
    return displaced(x.expand(1, 3, -1, -1), moves * right, moves * down, reach)[0, 0]


def test_glass_copies_pixels_and_does_not_swap_them() -> None:
    x = torch.arange(64, dtype=torch.uint8).view(8, 8)
    moved = glass(8, -1, 0, 1)
    # A swap would carry the pixel at the right end of each row to the left, and keep every one.
    assert torch.equal(moved[2:, 2:], x[2:, 1:-1])
    assert torch.equal(moved[:2], x[:2])
    assert torch.equal(moved[:, :2], x[:, :2])


def test_glass_copies_what_was_copied_before() -> None:
    # The scan runs from right to left: each pixel takes what its right neighbour has just taken.
    moved = glass(8, 1, 0, 2)
    assert torch.equal(moved[3:7, 3:7], moved[3:7, 7:].expand(-1, 4))
    assert torch.equal(moved[:, 7], torch.arange(7, 64, 8, dtype=torch.uint8))


@pytest.mark.parametrize("photons", [3.0, 60.0, 500.0])
def test_shot_noise_has_the_moments_of_a_poisson_count(photons: float) -> None:
    x = torch.full((100, 3, 32, 32), 51, dtype=torch.uint8)  # a fifth, so that little is clipped
    values = shot_noise(x, (photons,), Rng.seeded(0)).double() / 255
    counts = torch.distributions.Poisson(0.2 * photons)
    seen = torch.arange(0, 2 * photons + 20)
    share = counts.log_prob(seen).exp().double()
    expected = ((seen / photons).clamp_max(1).double() * 255).floor() / 255
    mean = (share * expected).sum()
    deviation = ((share * expected**2).sum() - mean**2).sqrt()
    assert abs(values.mean() - mean) < 5 * deviation / values.numel() ** 0.5
    assert abs(values.std() / deviation - 1) < 0.02


def test_half_of_the_impulses_are_white_and_the_others_black() -> None:
    x = torch.full((40, 3, 32, 32), 100, dtype=torch.uint8)
    values = impulse_noise(x, (0.1,), Rng.seeded(0))
    for impulse in (0, 255):
        share = (values == impulse).double().mean()
        assert abs(share - 0.05) < 5 * (0.05 * 0.95 / x.numel()) ** 0.5
    assert set(values.unique().tolist()) == {0, 100, 255}


def test_clouds_fill_the_range_from_0_to_1() -> None:
    noise = torch.rand(5, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    heights = plasma(noise, 2.0)
    assert torch.equal(heights.amin(dim=(1, 2)), torch.zeros(5))
    assert torch.equal(heights.amax(dim=(1, 2)), torch.ones(5))


def test_photographs_are_whitened_by_snow_and_dulled_by_fog() -> None:
    x = photographs(32, 12)[:-1]
    for severity in range(1, 6):
        assert corrupted("snow", severity, x, Rng.seeded(0)).float().mean() > x.float().mean()
        foggy = corrupted("fog", severity, x, Rng.seeded(0))
        assert (foggy.amax(dim=(1, 2, 3)) <= x.amax(dim=(1, 2, 3))).all()


@pytest.mark.parametrize("name", ["gaussian", "Fog", ""])
def test_an_unknown_corruption_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=says("gaussian_noise ... saturate")):
        corrupted(name, 1, photographs(32, 6), Rng.seeded(0))


@pytest.mark.parametrize("severity", [0, 6, -1])
def test_a_severity_is_from_1_to_5(severity: int) -> None:
    with pytest.raises(ValueError, match=says(f"severity ... 1 ... 5 ... {severity}")):
        corrupted("fog", severity, photographs(32, 6), Rng.seeded(0))


def test_only_three_sides_have_constants() -> None:
    with pytest.raises(ValueError, match=says("side ... 32 ... 64 ... 224 ... 96")):
        corrupted("fog", 1, photographs(32, 6), Rng.seeded(0), side=96)


def test_images_of_any_size_may_take_the_constants_of_another() -> None:
    x = photographs(32, 6)
    for side in PUBLISHED:
        found = corrupted("contrast", 3, x, Rng.seeded(0), side=side)
        assert torch.equal(
            found, TABLE["contrast"][0](x, (0.4 if side == 32 else 0.2,), Rng.seeded(0))
        )


def test_a_single_thread_works_and_the_number_of_threads_is_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def failing(x: Tensor, constants: tuple[float, ...], rng: Rng) -> Tensor:
        seen.append(torch.get_num_threads())
        raise KeyError("fog")

    monkeypatch.setattr(corrupt, "TABLE", {**TABLE, "fog": (failing, TABLE["fog"][1])})
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError, match="fog"):
            corrupted("fog", 1, photographs(32, 6), Rng.seeded(0))
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(1)  # as all tests have it
