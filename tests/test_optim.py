"""Optimizers against the update rules they stand for, and what is decayed."""

import pytest
import torch
from torch import nn
from wording import says

from vicinal.optim import Adam, AdamW, Sgd
from vicinal.surgery.dubin import DuBN, HalfInstance


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_equals_the_momentum_rule(nesterov: bool) -> None:
    weight = nn.Linear(1, 1, bias=False).double()
    optimizer = Sgd(lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.01)(weight)
    w, velocity = weight.weight.item(), None
    for step in range(5):
        optimizer.zero_grad()
        (weight.weight.sum() * (step + 1)).backward()
        optimizer.step()
        gradient = step + 1 + 0.01 * w
        velocity = gradient if velocity is None else 0.9 * velocity + gradient
        w -= 0.1 * (gradient + 0.9 * velocity if nesterov else velocity)
        assert weight.weight.item() == pytest.approx(w, rel=1e-12)


def test_decay_covers_everything_or_spares_norms_and_biases() -> None:
    model = network()
    (everything,) = Sgd(lr=0.1, weight_decay=1e-4)(model).param_groups
    assert len(everything["params"]) == 6
    decayed, spared = Sgd(lr=0.1, weight_decay=1e-4, decay_norms=False)(model).param_groups
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in spared["params"]] == [1, 1, 1, 1]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (1e-4, 0.0)


class Scaled(nn.Module):
    """As ConvNeXt and ViT have it."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma, self.token = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(1, 1, 4))


@pytest.mark.parametrize(
    "norm",
    [
        HalfInstance(nn.BatchNorm2d(4)),
        DuBN(nn.BatchNorm2d(4)),
        nn.RMSNorm(4),
        nn.LayerNorm(4),
        nn.GroupNorm(2, 4),
        nn.InstanceNorm2d(4, affine=True),
        nn.PReLU(4),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_norms_and_scales_of_every_kind_are_spared(norm: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), norm, Scaled())
    decayed, spared = Sgd(lr=0.1, weight_decay=1e-4, decay_norms=False)(model).param_groups
    assert decayed["params"] == [model[0].weight, model[2].token]
    assert set(spared["params"]) == {*norm.parameters(), model[2].gamma}


def test_adam_equals_algorithm_1_of_its_paper() -> None:
    weight = nn.Linear(1, 1, bias=False).double()
    optimizer = Adam(lr=0.1, betas=(0.8, 0.9), eps=1e-3)(weight)
    w, m, v = weight.weight.item(), 0.0, 0.0
    for t in range(1, 6):
        optimizer.zero_grad()
        (weight.weight.sum() * (3 - t)).backward()
        optimizer.step()
        m, v = 0.8 * m + 0.2 * (3 - t), 0.9 * v + 0.1 * (3 - t) ** 2
        w -= 0.1 * (m / (1 - 0.8**t)) / ((v / (1 - 0.9**t)) ** 0.5 + 1e-3)
        assert weight.weight.item() == pytest.approx(w, rel=1e-12)


def test_adams_decay_goes_through_the_moments_and_adamws_does_not() -> None:
    shrunk = []
    for optimizer in (Adam(lr=0.1, weight_decay=0.5), AdamW(lr=0.1, weight_decay=0.5)):
        model = nn.Linear(1, 1, bias=False)
        nn.init.constant_(model.weight, 2.0)
        model.weight.grad = torch.zeros_like(model.weight)
        optimizer(model).step()
        shrunk.append(model.weight.item())
    # Adam normalises the decay to a whole step of lr; AdamW multiplies by 1 - lr * decay.
    assert shrunk == pytest.approx([1.9, 2.0 * 0.95], rel=1e-6)


def test_frozen_parameters_are_not_handed_over() -> None:
    model = network()
    model[0].requires_grad_(requires_grad=False)
    (group,) = Sgd(lr=0.1)(model).param_groups
    assert len(group["params"]) == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", 0.0),
        ("weight_decay", -1.0),
        ("clip_norm", 0.0),
        ("ema_decay", 1.0),
        ("mean_from", 1.0),
        ("momentum", 1.0),
    ],
)
def test_values_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=says(f"^{key} ... {value}")):
        Sgd(**{"lr": 0.1, key: value})


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ValueError, match=says("^nesterov ... false ... momentum")):
        Sgd(lr=0.1, momentum=0.0, nesterov=True)


def test_weights_have_one_average() -> None:
    with pytest.raises(ValueError, match=says("^mean_from ... ema_decay ... 0.5 ... 0.9")):
        Sgd(lr=0.1, mean_from=0.5, ema_decay=0.9)


def test_the_mean_starts_after_its_share_of_the_epochs() -> None:
    """AWD-LSTM as adversarial softmax trains it: from epoch 200 of 4,000."""
    averaged = [Sgd(lr=30, mean_from=0.05).averages(epoch, 4000) for epoch in range(4000)]
    assert averaged == [False] * 200 + [True] * 3800
    assert Sgd(lr=30, mean_from=0.0).averages(0, 2)
    assert not Sgd(lr=30).averages(5, 10)
