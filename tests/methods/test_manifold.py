"""Vicinities of the features: Manifold Mixup and Feature CutMix against their equations."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from oracles import features as feature_oracle
from oracles import vicinities as oracle
from oracles.features import SIDE, Small, batch
from torch import Tensor, nn
from wording import says

from vicinal.draws import Rng, beta, coins, integer, permutation
from vicinal.methods import manifold
from vicinal.methods.erm import Erm
from vicinal.methods.manifold import Manifold
from vicinal.surgery.taps import run_tapped
from vicinal.vicinities.cutmix import CutMix
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.label_smoothing import LabelSmoothing
from vicinal.vicinities.mixup import Mixup

CPU = torch.device("cpu")


def mean_loss(logits: Tensor, y: Tensor, loss: str) -> float:
    of = getattr(feature_oracle, {"ce": "cross_entropy", "bce": "binary_cross_entropy"}[loss])
    losses = [of(z, t) for z, t in zip(logits.tolist(), y.tolist(), strict=True)]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("loss", ["ce", "bce"])
@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("seed", range(2))
def test_manifold_mixup_equals_its_equation(loss: str, layer: int, seed: int) -> None:
    model, (x, y) = Small(), batch()
    rng = Rng.seeded(seed)
    lam = beta(2.0, 1, rng).item()
    partner = permutation(len(x), rng, CPU).tolist()
    h, targets = oracle.mixup(model.head(x, layer).detach(), y, [lam] * len(x), partner)
    method = Manifold(Identity(), Mixup(alpha=2.0), layers=[layer], loss=loss)
    (ours,) = method(model, x, y, Rng.seeded(seed))
    expected = mean_loss(model.tail(h, layer), targets, loss)
    assert ours.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_feature_cutmix_equals_cutmixs_equations_on_features(layer: int, seed: int) -> None:
    model, (x, y) = Small(), batch()
    rng = Rng.seeded(seed)
    coins(1.0, 1, rng)
    lam = beta(1.0, 1, rng).item()
    centre = integer(SIDE, rng), integer(SIDE, rng)
    partner = permutation(len(x), rng, CPU).tolist()
    h, targets = oracle.cutmix(model.head(x, layer).detach(), y, lam, centre, partner)
    (ours,) = Manifold(Identity(), CutMix(), layers=[layer])(model, x, y, Rng.seeded(seed))
    expected = mean_loss(model.tail(h, layer), targets, "ce")
    assert ours.item() == pytest.approx(expected, rel=1e-12)


def test_at_the_input_it_is_empirical_risk_over_that_vicinity() -> None:
    model, (x, y) = Small(), batch()
    (ours,) = Manifold(Identity(), Mixup(), layers=[0])(model, x, y, Rng.seeded(4))
    (erm,) = Erm(Mixup())(model, x, y, Rng.seeded(4))
    assert torch.equal(ours, erm)


def test_layers_are_uniform_and_equal_on_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def spy(model: nn.Module, x: Tensor, place: int, action: object, maps: bool) -> object:
        drawn.append(place)
        return run_tapped(model, x, place, action, maps=maps)

    monkeypatch.setattr(manifold, "run_tapped", spy)
    model, method = Small(), Manifold(Identity(), Mixup())
    for rank in (0, 1):
        rng = Rng.seeded(0, rank)
        for _ in range(600):
            list(method(model, *batch(2), rng))
    assert drawn[:600] == drawn[600:]
    counts = Counter(drawn[:600])
    assert set(counts) == {0, 1, 2}
    assert sum((n - 200) ** 2 / 200 for n in counts.values()) < 9.2  # chi², 2 degrees, p = 0.01


def test_both_vicinities_act_in_their_order() -> None:
    model, (x, y) = Small(), batch()
    method = Manifold(LabelSmoothing(0.4), Mixup(), layers=[1])
    (ours,) = method(model, x, y, Rng.seeded(0))
    smooth = LabelSmoothing(0.4)(x, y, Rng.seeded(0))[1]
    (expected,) = replace(method, vicinity=Identity())(model, x, smooth, Rng.seeded(0))
    assert torch.equal(ours, expected)


def test_layers_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match=says("^method.layers ... 7 ... 0 input, 1 stem")):
        Manifold(Identity(), Mixup(), layers=[7]).prepare(Small())
    with pytest.raises(ValueError, match=says("^layers ... 0 ... []")):
        Manifold(Identity(), Mixup(), layers=[])
