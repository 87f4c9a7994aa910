"""The two networks for spectrograms compute what the public code describes."""

import torch
from oracles import networks as oracle
from torch import nn

from vicinal.models.lenet import LeNet
from vicinal.models.vgg import VGG11


def shaken(network: nn.Module) -> nn.Module:
    """In float64, with norms and biases that do something."""
    for value in network.double().state_dict().values():
        if value.ndim == 1:
            value.copy_(torch.rand_like(value) + 0.5)
    return network


@torch.no_grad()
def test_lenet_equals_the_description_where_nothing_is_dropped() -> None:
    torch.manual_seed(0)
    network = shaken(LeNet(num_classes=7, shape=(1, 35, 29))).eval()
    x = torch.randn(3, 1, 35, 29, dtype=torch.float64)
    expected = oracle.lenet(x, dict(network.state_dict()))
    torch.testing.assert_close(network(x), expected, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_lenet_drops_channels_before_the_second_pool_and_units_before_the_classifier() -> None:
    """Half of each; a dropped channel leaves the pool with zeros, the others are doubled."""
    torch.manual_seed(0)
    network = LeNet(num_classes=7, shape=(1, 40, 40)).train()
    seen: dict[str, torch.Tensor] = {}
    for name in ("stage2.conv", "stage2.pool", "stage2", "hidden.relu", "hidden"):
        module = network.get_submodule(name)
        module.register_forward_hook(lambda _, args, output, name=name: seen.update({name: output}))
    network(torch.randn(50, 1, 40, 40))
    kept = seen["stage2.pool"].flatten(2).abs().sum(2) > 0
    assert abs(kept.double().mean().item() - 0.5) < 0.1
    pooled = oracle.halved(2 * seen["stage2.conv"])[kept]
    torch.testing.assert_close(seen["stage2.pool"][kept], pooled)
    torch.testing.assert_close(seen["stage2"], seen["stage2.pool"].clamp(min=0))
    on = seen["hidden.relu"] > 0
    units = seen["hidden"][on]
    assert abs((units > 0).double().mean().item() - 0.5) < 0.02
    torch.testing.assert_close(units[units > 0], 2 * seen["hidden.relu"][on][units > 0])


@torch.no_grad()
def test_vgg_equals_the_description() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 1, 64, 41, dtype=torch.float64)
    for train in (True, False):
        network = shaken(VGG11(num_classes=7, shape=(1, 64, 41))).train(train)
        expected = oracle.vgg11(x, dict(network.state_dict()), train)
        torch.testing.assert_close(network(x), expected, rtol=1e-8, atol=1e-8)
