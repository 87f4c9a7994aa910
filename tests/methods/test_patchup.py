"""PatchUp against Eq. 2-8 of its paper, and what its loss must equal."""

from dataclasses import replace
from math import log

import pytest
import torch
from oracles import features as oracle
from oracles.features import Small, batch
from patchup_samples import HARD, SOFT, loss_of, plain
from torch import nn
from torch.nn import functional as F
from wording import says

from vicinal.draws import Rng, beta, integer, permutation
from vicinal.losses import LOSSES
from vicinal.methods import patchup
from vicinal.methods.patchup import PatchUp
from vicinal.models.wide_resnet import WideResNet
from vicinal.vicinities.cutmix import CutMix

CPU = torch.device("cpu")


@pytest.mark.parametrize("method", [SOFT, HARD, replace(SOFT, loss="ce"), replace(HARD, loss="ce")])
@pytest.mark.parametrize("at_input", ["cutmix", "patches"])
@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("seed", range(2))
def test_patchup_equals_equations_2_to_8(
    method: PatchUp, at_input: str, layer: int, seed: int
) -> None:
    method = replace(method, layers=[layer], input=at_input, loss_weights=[0.7, 0.4])
    model, (x, y) = Small(), batch()
    rng = Rng.seeded(seed)
    lam = beta(2.0, 1, rng).item() if method.mode == "soft" and layer > 0 else 0.0
    partner = permutation(len(x), rng, CPU).tolist()
    h = [x, model.stem(x), model.stage1(model.stem(x))][layer]
    if layer == 0 and at_input == "cutmix":
        side = beta(1.0, 1, rng).item()
        mask = oracle.rectangle_of(side, (integer(7, rng), integer(7, rng)), 7)
    else:
        rate = oracle.adjusted(method.gamma, 3, 7)
        mask = oracle.mask_of(torch.rand((1, *h.shape[1:]), generator=rng.device) < rate, 3)
    h = oracle.patched(h.detach(), mask, lam, partner)
    tail = [model, lambda h: model.fc(model.stage1(h).flatten(1)), lambda h: model.fc(h.flatten(1))]
    first, second = oracle.patchup_terms(
        tail[layer](h), y, mask.mean().item(), lam, partner, method.loss
    )
    ours = loss_of(method, model, seed).item()
    assert ours == pytest.approx(0.7 * first + 0.4 * second, rel=1e-12)


def test_soft_is_the_identity_at_lambda_1_and_hard_at_lambda_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Small()
    soft = replace(SOFT, layers=[1], gamma=0.5)
    monkeypatch.setattr(patchup, "beta", lambda *_: torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(loss_of(soft, model), 2 * plain(soft, model))
    monkeypatch.setattr(patchup, "beta", lambda *_: torch.zeros(1, dtype=torch.float64))
    assert torch.equal(loss_of(soft, model), loss_of(replace(HARD, layers=[1]), model))


@pytest.mark.parametrize("loss", ["ce", "bce"])
@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("method", [SOFT, HARD], ids=["soft", "hard"])
def test_both_terms_are_equal_because_the_loss_is_linear_in_the_target(
    method: PatchUp, layer: int, loss: str
) -> None:
    model = Small().float()
    x, y = (part.float() for part in batch())
    gradients = []
    values = []
    for weights in ([1.0, 0.0], [0.0, 1.0]):
        one = replace(method, loss=loss, layers=[layer], loss_weights=weights)
        (term,) = one(model, x, y, Rng.seeded(3))
        values.append(term)
        gradients.append(torch.autograd.grad(term, list(model.parameters())))
    assert abs(values[0] - values[1]) < 1e-6
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-6)
    (both,) = replace(method, loss=loss, layers=[layer])(model, x, y, Rng.seeded(3))
    torch.testing.assert_close(both, values[0] + values[1])


@pytest.mark.parametrize("weights", [[1.0, 0.0], [0.0, 1.0]], ids=["changed", "reweighted"])
@pytest.mark.parametrize("method", [SOFT, HARD], ids=["soft", "hard"])
def test_targets_sum_to_one(method: PatchUp, weights: list[float]) -> None:
    """Where all classes are as likely, a target that sums to s has a cross-entropy of s log k."""
    model = Small()
    nn.init.zeros_(model.fc.weight)
    nn.init.zeros_(model.fc.bias)
    uniform = replace(method, loss="ce", loss_weights=weights)
    for seed in range(20):
        assert loss_of(uniform, model, seed).item() == pytest.approx(log(4))


def test_a_batch_without_patchup_has_the_plain_loss_once() -> None:
    model = Small()
    never = replace(HARD, patchup_prob=0.0)
    assert torch.equal(loss_of(never, model), plain(never, model))


def test_the_released_wide_networks_bug_is_an_option() -> None:
    model = Small()
    buggy = replace(HARD, layers=[0], loss_weights=[0.0, 1.0], unmixed_input=True)
    _, y = batch()
    logits = []
    handle = model.register_forward_hook(lambda _m, _a, output: logits.append(output))
    loss = loss_of(buggy, model, seed=2)
    handle.remove()
    torch.testing.assert_close(loss, LOSSES["bce"](logits[0], y).mean())
    right = loss_of(replace(buggy, unmixed_input=False), model, seed=2)
    assert not torch.isclose(loss, right)
    elsewhere = replace(buggy, layers=[1])
    fixed = replace(elsewhere, unmixed_input=False)
    assert torch.equal(loss_of(elsewhere, model), loss_of(fixed, model))


def test_the_input_is_cutmixed_as_cutmix_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hard at the input alone is twice the loss of CutMix at the same draws."""
    model, (x, y) = Small(), batch()
    method = replace(HARD, layers=[0], loss="ce")
    partner = torch.tensor([1, 2, 3, 4, 0])
    monkeypatch.setattr("vicinal.methods.patchup.permutation", lambda *_: partner)
    monkeypatch.setattr("vicinal.vicinities.cutmix.permutation", lambda *_: partner)
    monkeypatch.setattr("vicinal.vicinities.cutmix.coins", lambda *_: torch.ones(1).bool())
    for seed in range(5):
        mixed, targets = CutMix()(x, y, Rng.seeded(seed))
        expected = LOSSES["ce"](model(mixed), targets).mean()
        torch.testing.assert_close(loss_of(method, model, seed), 2 * expected)


def test_evaluation_is_not_patched() -> None:
    torch.manual_seed(0)
    model = WideResNet(10, 1, num_classes=4, shape=(3, 8, 8))
    twin = WideResNet(10, 1, num_classes=4, shape=(3, 8, 8))
    x = torch.rand(6, 3, 8, 8)
    for seed in range(6):
        list(SOFT(model, x, F.one_hot(torch.arange(6) % 4, 4).float(), Rng.seeded(seed)))
    twin.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(x), twin.eval()(x))


def test_what_cannot_be_patched_is_refused() -> None:
    with pytest.raises(ValueError, match=says("^method.block_size ... 9 ... 7 x 7")):
        loss_of(replace(SOFT, block_size=9, layers=[1]), Small())
    with pytest.raises(ValueError, match=says("^method.layers ... 3 ... 0 input, 1 stem")):
        replace(SOFT, layers=[0, 3]).prepare(Small())
    for key, value in [
        ("patchup_prob", 1.5),
        ("gamma", -0.1),
        ("block_size", 4),
        ("alpha", 0.0),
        ("layers", []),
        ("layers", [-1]),
        ("loss_weights", [1.0]),
    ]:
        with pytest.raises(ValueError, match=says(f"^{key} ... {value}")):
            replace(SOFT, **{key: value})
