"""AutoAugment against torchvision's, image by image, with the same draws."""

import pytest
import torch
from calls import Calls
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import AutoAugment as Torchvision
from torchvision.transforms import AutoAugmentPolicy
from wording import says

from vicinal.draws import Rng
from vicinal.images.torchvisions import HIGHEST, UNSIGNED
from vicinal.vicinities.auto_augment import AutoAugment

POLICIES = ["cifar10", "imagenet", "svhn"]


def photographs(count: int, channels: int = 3, size: tuple[int, int] = (20, 20)) -> Tensor:
    """Smooth, 8-bit, with values everywhere."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(count, channels, 6, 6, generator=generator)
    return F.interpolate(small, size=size, mode="bicubic").clamp(0, 1).mul(255).to(torch.uint8)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("fill", "shape"),
    [
        (None, (3, 20, 20)),
        ([0.5, 0.25, 0.75], (3, 20, 20)),
        ([0.3], (3, 12, 16)),
        ([0.3], (1, 16, 12)),  # no colour to change
        (None, (3, 2, 6)),  # too small to be sharpened
    ],
    ids=["black", "filled", "wide", "grey", "small"],
)
def test_auto_augment_equals_torchvisions(
    policy: str,
    fill: list[float] | None,
    shape: tuple[int, int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = photographs(200, shape[0], shape[1:])
    y = torch.eye(200)
    ours, targets = AutoAugment(policy, fill)(x.float() / 255, y, Rng.seeded(0))
    rng = Rng.seeded(0).cpu
    pair = torch.randint(25, (200,), generator=rng)
    chance, direction = (
        torch.rand((200, 2), generator=rng),
        torch.randint(2, (200, 2), generator=rng),
    )
    levels = None if fill is None else [255 * value for value in fill]
    theirs = Torchvision(AutoAugmentPolicy(policy), fill=levels)
    for i in range(200):
        draws = int(pair[i]), chance[i], direction[i]
        monkeypatch.setattr(theirs, "get_params", lambda number, draws=draws: draws)
        assert torch.equal((ours[i] * 255).round().to(torch.uint8), theirs(x[i]))
    assert torch.equal(targets, y)
    assert (ours != x / 255).flatten(1).any(dim=1).sum() > 80


def test_the_calls_do_not_grow_with_the_amounts_that_are_drawn() -> None:
    counts = []
    for images in (40, 400):
        x, y = photographs(images).float() / 255, torch.eye(images)
        AutoAugment()(x, y, Rng.seeded(0))  # fills its tables
        with Calls() as calls:
            AutoAugment()(x, y, Rng.seeded(0))
        counts.append(calls.count)
    assert counts[0] == counts[1] < 250


@pytest.mark.parametrize("policy", POLICIES)
def test_all_operators_of_a_policy_are_known_and_all_known_ones_used(policy: str) -> None:
    pairs = Torchvision(AutoAugmentPolicy(policy)).policies
    assert {name for pair in pairs for name, _, _ in pair} <= set(HIGHEST)
    space = Torchvision()._augmentation_space(10, (20, 20))
    assert set(space) == set(HIGHEST)
    assert {name for name, (_, signed) in space.items() if not signed} == set(UNSIGNED)


def test_nothing_is_drawn_but_from_the_generator_given() -> None:
    x, y = photographs(32).float() / 255, torch.eye(32)
    state = torch.get_rng_state()
    first, again = (AutoAugment()(x, y, Rng.seeded(1))[0] for _ in range(2))
    other, _ = AutoAugment()(x, y, Rng.seeded(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_returns_new_images_in_8_bits(channels: int) -> None:
    x = photographs(16, channels).double() / 255
    inputs = x.clone()
    drawn, _ = AutoAugment()(x, torch.eye(16), Rng.seeded(0))
    assert drawn.dtype == torch.float64
    assert drawn.shape == x.shape
    assert torch.equal(x, inputs)
    assert torch.equal((drawn * 255).round() / 255, drawn)


def test_two_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=says("^inputs ... 1 ... 3 ... 2")):
        AutoAugment()(torch.rand(1, 2, 8, 8), torch.eye(1), Rng.seeded(0))
