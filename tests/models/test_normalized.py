"""Normalising is the network's first layer."""

import pytest
import torch
from torch import nn
from wording import says

from vicinal.models.mlp import MLP
from vicinal.models.normalized import Normalize, Normalized
from vicinal.models.wide_resnet import WideResNet

MEAN, STD = (0.49, 0.48, 0.45), (0.20, 0.21, 0.22)


def test_normalised_logits_equal_the_bodys_on_normalised_pixels() -> None:
    torch.manual_seed(0)
    body = WideResNet(10, 1, num_classes=5, shape=(3, 8, 8)).eval()
    x = torch.rand(4, 3, 8, 8)
    by_hand = x.clone()
    for channel in range(3):
        by_hand[:, channel] = (x[:, channel] - MEAN[channel]) / STD[channel]
    with torch.no_grad():
        torch.testing.assert_close(Normalized(body, MEAN, STD)(x), body(by_hand))


def test_vectors_are_normalised_entry_by_entry() -> None:
    x = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    expected = torch.tensor([[0.0, -1.0], [1.0, 1.0]])
    torch.testing.assert_close(Normalize((1.0, 20.0), (2.0, 10.0))(x), expected)


def test_one_grey_channel_has_one_mean() -> None:
    x = torch.full((2, 1, 3, 3), 0.75)
    assert bool((Normalize([0.5], [0.25])(x) == 1).all())


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=says("mean ... channel ... 1 ... 3")):
        Normalize([0.5], [0.25])(torch.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match=says("mean ... std ... 3 ... 1")):
        Normalize(MEAN, [0.25])
    with pytest.raises(ValueError, match=says("^std ... (0.0,)")):
        Normalize([0.5], [0.0])


def test_logits_are_float32_under_autocast_and_float64_in_float64() -> None:
    network = Normalized(MLP(8, 1, num_classes=3, shape=(4,)), [0.0] * 4, [1.0] * 4)
    x = torch.rand(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network.body(x).dtype == torch.bfloat16
        assert network(x).dtype == torch.float32
    assert network.double()(x.double()).dtype == torch.float64


def test_stages_are_the_bodys() -> None:
    body = WideResNet(10, 1, num_classes=5, shape=(3, 8, 8))
    network = Normalized(body, MEAN, STD)
    assert network.stages == tuple(f"body.{stage}" for stage in body.stages)
    for stage, inner in zip(network.stages, body.stages, strict=True):
        assert network.get_submodule(stage) is body.get_submodule(inner)


def test_the_scale_is_saved_but_not_trained() -> None:
    body: nn.Module = MLP(8, 1, num_classes=3, shape=(4,))
    network = Normalized(body, [0.0] * 4, [1.0] * 4)
    assert len(list(network.parameters())) == len(list(body.parameters()))
    assert {"normalize.mean", "normalize.std"} <= set(network.state_dict())
