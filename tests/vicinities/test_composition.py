"""mixup's ablations by composing: partners of the same class, the larger label, smoothing."""

from math import sqrt

import torch
from oracles import vicinities as oracle
from torch import Tensor
from torch.nn import functional as F

from vicinal.draws import Rng, beta, class_permutation, permutation
from vicinal.vicinities.compose import Compose
from vicinal.vicinities.cutout import Cutout
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.label_smoothing import LabelSmoothing
from vicinal.vicinities.larger_label import LargerLabel
from vicinal.vicinities.mixup import Mixup

CPU = torch.device("cpu")


def batch(count: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 3, 5, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (count,), generator=generator)
    return x, F.one_hot(labels, 3).double()


def test_partners_of_the_same_class_leave_the_label() -> None:
    x, y = batch()
    for seed in range(5):
        rng = Rng.seeded(seed)
        lam = beta(1.0, 1, rng).item()
        partner = class_permutation(y.argmax(1), rng).tolist()
        mixed, targets = Mixup(among="class")(x, y, Rng.seeded(seed))
        expected = oracle.mixup(x, y, [lam] * len(x), partner)
        torch.testing.assert_close((mixed, targets), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(targets, y)


def test_a_class_permutation_is_uniform_within_each_class() -> None:
    classes = torch.tensor([2, 0, 2, 1, 2, 0])
    rng = Rng.seeded(0)
    draws = torch.stack([class_permutation(classes, rng) for _ in range(3000)])
    assert (classes[draws] == classes).all()
    assert torch.equal(draws.sort(1).values, torch.arange(6).expand(3000, 6))
    for place, others in ((0, [0, 2, 4]), (1, [1, 5]), (3, [3])):
        share = 1 / len(others)
        for other in others:
            found = (draws[:, place] == other).double().mean()
            assert abs(found - share) <= 4 * sqrt(share * (1 - share) / 3000)
    orders = draws[:, [0, 2, 4]].unique(dim=0)
    assert len(orders) == 6


def test_inputs_only_takes_the_label_of_the_larger_weight() -> None:
    x, y = batch()
    below_half = 0
    for seed in range(20):
        rng = Rng.seeded(seed)
        lam = beta(1.0, 1, rng).item()
        partner = permutation(len(x), rng, CPU)
        _, targets = Compose(Mixup(), LargerLabel())(x, y, Rng.seeded(seed))
        assert torch.equal(targets, y if lam > 0.5 else y[partner])
        below_half += lam < 0.5
    assert 0 < below_half < 20


def test_smoothing_follows_the_larger_label() -> None:
    x, y = batch()
    inputs_only = Compose(Mixup(), LargerLabel())
    mixed, hard = inputs_only(x, y, Rng.seeded(3))
    ours = Compose(inputs_only, LabelSmoothing(0.4))(x, y, Rng.seeded(3))
    torch.testing.assert_close(ours, (mixed, oracle.label_smoothing(hard, 0.4)))


def test_composing_is_one_after_the_other_from_one_stream() -> None:
    x, y = batch()
    rng = Rng.seeded(1)
    expected = Mixup()(*Cutout(length=3)(x, y, rng), rng)
    ours = Compose(Cutout(length=3), Mixup())(x, y, Rng.seeded(1))
    assert torch.equal(ours[0], expected[0])
    assert torch.equal(ours[1], expected[1])
    alone = Compose(Identity(), Mixup())(x, y, Rng.seeded(1))
    assert torch.equal(alone[0], Mixup()(x, y, Rng.seeded(1))[0])
