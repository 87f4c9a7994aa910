"""Each vicinity against its equation, and the laws that its paper states."""

from dataclasses import replace
from math import sqrt

import pytest
import torch
from oracles import vicinities as oracle
from torch import Tensor
from torch.nn import functional as F
from wording import says

from vicinal.contracts import Vicinity
from vicinal.draws import Rng, beta, coins, integer, permutation
from vicinal.vicinities.crop_flip import CropFlip
from vicinal.vicinities.cutmix import CutMix
from vicinal.vicinities.cutout import Cutout
from vicinal.vicinities.gaussian_noise import GaussianNoise
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.label_smoothing import LabelSmoothing
from vicinal.vicinities.mixup import Mixup

ALL: list[Vicinity] = [
    Identity(),
    Mixup(),
    Mixup(alpha=0.2, per="sample"),
    CutMix(),
    CutMix(prob=0.5),
    Cutout(length=5, fill=(0.1, 0.2, 0.3)),
    Cutout(length=4, per="batch"),
    GaussianNoise(sigma=0.1, scale=(1.0, 2.0, 3.0)),
    LabelSmoothing(),
    CropFlip(padding=2),
    CropFlip(padding=3, mode="reflect", flip=False),
]
CPU = torch.device("cpu")


def batch(count: int = 6, size: int = 9, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 3, size, size, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (count,), generator=generator)
    return x, F.one_hot(labels, classes).double()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("per", ["batch", "sample"])
def test_mixup_equals_its_equation(per: str, seed: int) -> None:
    x, y = batch()
    rng = Rng.seeded(seed)
    lams = beta(0.7, len(x) if per == "sample" else 1, rng).expand(len(x)).tolist()
    partner = permutation(len(x), rng, CPU).tolist()
    ours = Mixup(alpha=0.7, per=per)(x, y, Rng.seeded(seed))
    torch.testing.assert_close(ours, oracle.mixup(x, y, lams, partner), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_cutmix_equals_equations_1_and_2(seed: int) -> None:
    x, y = batch()
    rng = Rng.seeded(seed)
    assert coins(1.0, 1, rng).item()
    lam = beta(1.0, 1, rng).item()
    centre = integer(9, rng), integer(9, rng)
    partner = permutation(len(x), rng, CPU).tolist()
    ours = CutMix()(x, y, Rng.seeded(seed))
    torch.testing.assert_close(
        ours, oracle.cutmix(x, y, lam, centre, partner), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("per", ["batch", "sample"])
@pytest.mark.parametrize("length", [1, 4, 5, 30])
def test_cutout_equals_its_description(per: str, length: int, seed: int) -> None:
    x, y = batch()
    fill = (0.1, 0.2, 0.3)
    rng = Rng.seeded(seed)
    count = len(x) if per == "sample" else 1
    rows, columns = (torch.randint(9, (count, 1), generator=rng.cpu) for _ in range(2))
    centres = torch.cat([rows, columns], dim=1).expand(len(x), 2).tolist()
    ours, labels = Cutout(length=length, per=per, fill=fill)(x, y, Rng.seeded(seed))
    assert torch.equal(ours, oracle.cutout(x, centres, length, list(fill)))
    assert torch.equal(labels, y)


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("seed", range(3))
def test_crop_flip_equals_torchvisions_rule(mode: str, seed: int) -> None:
    x, y = batch()
    rng = Rng.seeded(seed)
    offsets = torch.randint(7, (2, len(x)), generator=rng.cpu).T.tolist()
    flips = coins(0.5, len(x), rng).tolist()
    ours, _ = CropFlip(padding=3, mode=mode)(x, y, Rng.seeded(seed))
    assert torch.equal(ours, oracle.crop_flip(x, 3, mode, offsets, flips))


def test_gaussian_noise_equals_its_equation() -> None:
    x, y = batch()
    noise = torch.randn(x.shape, generator=Rng.seeded(3).device, dtype=x.dtype)
    ours, _ = GaussianNoise(sigma=0.5, scale=(1.0, 2.0, 3.0))(x, y, Rng.seeded(3))
    for channel in range(3):
        expected = x[:, channel] + 0.5 * (channel + 1) * noise[:, channel]
        torch.testing.assert_close(ours[:, channel], expected)


def test_label_smoothing_equals_mixups_table_5() -> None:
    _, y = batch(classes=10)
    _, ours = LabelSmoothing(epsilon=0.2)(torch.zeros(6, 3), y, Rng.seeded(0))
    torch.testing.assert_close(ours, oracle.label_smoothing(y, 0.2))


@pytest.mark.parametrize("vicinity", ALL, ids=repr)
def test_targets_stay_distributions_and_inputs_are_untouched(vicinity: Vicinity) -> None:
    x, y = batch()
    before = x.clone(), y.clone()
    rng = Rng.seeded(1)
    for _ in range(20):
        drawn, targets = vicinity(x, y, rng)
        torch.testing.assert_close(targets.sum(1), torch.ones(len(y), dtype=y.dtype))
        assert targets.min() >= 0
        assert drawn.shape == x.shape
        assert drawn.dtype == x.dtype
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


@pytest.mark.parametrize("vicinity", ALL, ids=repr)
def test_draws_follow_the_rng_alone(vicinity: Vicinity) -> None:
    x, y = batch()
    torch.manual_seed(1)
    first = vicinity(x, y, Rng.seeded(5))
    torch.manual_seed(2)
    again = vicinity(x, y, Rng.seeded(5))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def test_cutmix_label_is_the_pasted_area_exactly_where_the_box_is_clipped() -> None:
    x = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, 11, 13).clone()  # image i is all i
    y = torch.eye(2)
    rng = Rng.seeded(0)
    clipped = 0
    for _ in range(300):
        mixed, targets = CutMix()(x, y, rng)
        if torch.equal(mixed, x):
            continue
        torch.testing.assert_close(mixed.mean((1, 2, 3)), targets[:, 1])
        box = mixed[0, 0].nonzero()
        clipped += bool(len(box)) and (box.min() == 0).item()
    assert clipped > 20


def test_small_alpha_leaves_only_clean_pairs() -> None:
    lams = beta(1e-4, 2000, Rng.seeded(0))
    assert lams.isfinite().all()
    assert (torch.minimum(lams, 1 - lams) < 1e-3).double().mean() > 0.99
    x, y = batch()
    assert torch.equal(Mixup(alpha=0)(x, y, Rng.seeded(0))[0], x)


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 2.0, 32.0])
def test_lambda_has_betas_moments(alpha: float) -> None:
    lams = beta(alpha, 200_000, Rng.seeded(0))
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(lams.mean() - 0.5) < 5 * sqrt(variance / len(lams))
    assert abs(lams.var() / variance - 1) < 0.02


def test_mixup_draws_one_lambda_a_batch_or_one_a_sample() -> None:
    x, y = torch.zeros(64, 1), torch.eye(64)
    per_batch = Mixup()(x, y, Rng.seeded(0))[1].diagonal()
    per_sample = Mixup(per="sample")(x, y, Rng.seeded(0))[1].diagonal()
    moved = per_batch[per_batch != 1]
    assert len(moved.unique()) == 1
    assert len(per_sample.unique()) > 60


def test_cutout_holes_are_clipped_not_moved() -> None:
    x = torch.ones(20_000, 1, 8, 8)
    out, _ = Cutout(length=4)(x, torch.ones(20_000, 1), Rng.seeded(0))
    # Mean hole side over uniform centres 0..7 for [c - 2, c + 2): 2, 3, 4, 4, 4, 4, 4, 3 -> 3.5
    assert abs((1 - out).sum((1, 2, 3)).mean() - 3.5**2) < 0.1
    shared, _ = Cutout(length=4, per="batch")(x[:50], torch.ones(50, 1), Rng.seeded(0))
    assert (shared == shared[0]).all()


def test_cutmix_is_applied_with_its_probability() -> None:
    x, y = batch()
    rng = Rng.seeded(0)
    applied = sum(not torch.equal(CutMix(prob=0.3)(x, y, rng)[1], y) for _ in range(1000))
    # Boxes of side int(9 √(1 - λ)) // 2 = 0 and fixed points leave y too: 1 - λ < (2/9)², 5 %.
    assert 0.24 < applied / 1000 < 0.32


def test_crop_flip_reaches_every_offset_and_flips_half() -> None:
    x = torch.arange(1.0, 65.0).view(1, 1, 8, 8).expand(4000, 1, 8, 8)
    out, _ = CropFlip(padding=2, flip=True)(x, torch.ones(4000, 1), Rng.seeded(0))
    centres = out[:, 0, 4, 4].unique()
    # The pixel seen at the centre of a crop or of its mirror: 5 rows x (5 columns + 1 mirrored).
    assert len(centres) == 5 * 6
    mirrored = (out[:, 0, 4, 4] > out[:, 0, 4, 5]) & (out[:, 0, 4, 5] > 0)
    assert abs(mirrored.double().mean() - 0.5) < 0.03


@pytest.mark.parametrize(
    ("vicinity", "key", "value"),
    [
        (Mixup(), "alpha", -1.0),
        (CutMix(), "alpha", 0.0),
        (CutMix(), "prob", 1.5),
        (Cutout(), "length", 0),
        (GaussianNoise(), "sigma", -0.1),
        (LabelSmoothing(), "epsilon", 2.0),
        (CropFlip(), "padding", -1),
    ],
    ids=str,
)
def test_values_out_of_range_are_named(vicinity: Vicinity, key: str, value: float) -> None:
    with pytest.raises(ValueError, match=says(f"^{key} ... {value}")):
        replace(vicinity, **{key: value})
