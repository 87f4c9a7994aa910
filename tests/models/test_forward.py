"""The networks compute what the papers describe."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from oracles import networks as oracle
from torch import Tensor, nn

from vicinal.models.densenet import DenseNetBC
from vicinal.models.preact_resnet import CifarPreActResNet, PreActResNet
from vicinal.models.proxyless import ProxylessNet
from vicinal.models.pyramidnet import PyramidNet
from vicinal.models.resnet import CifarResNet, ResNet
from vicinal.models.resnext import ResNeXt
from vicinal.models.wide_resnet import WideResNet, oliver
from vicinal.models.wide_resnet_meliketoy import MeliketoyWideResNet

Oracle = Callable[..., Tensor]
pre, post = oracle.pre_activation, oracle.post_activation

PROXYLESS = (  # kernels and expansions, of all kinds
    ((3, 1),),
    ((3, 6), (5, 3), (), (3, 3)),
    ((7, 3), (), ()),
    ((5, 2), (3, 1)),
    ((3, 2),),
    ((5, 2), ()),
    ((7, 2),),
)
NETWORKS: dict[str, tuple[Callable[..., nn.Module], Oracle]] = {
    "preact_resnet18": (
        partial(PreActResNet, 18),
        partial(pre, blocks=(2, 2, 2, 2), final_norm=False),
    ),
    "preact_resnet18 activated": (
        partial(PreActResNet, 18, "activated", "conv_bn_relu"),
        partial(pre, blocks=(2, 2, 2, 2), final_norm=False, stem_norm=True, activated="all"),
    ),
    "preact_resnet110": (partial(CifarPreActResNet, 110), partial(pre, blocks=(18, 18, 18))),
    "wrn16_4": (partial(WideResNet, 16, 4), partial(pre, blocks=(2, 2, 2))),
    "wrn16_1": (partial(WideResNet, 16, 1), partial(pre, blocks=(2, 2, 2))),
    "wrn16_2_oliver": (
        partial(oliver, 16, 2),
        partial(pre, blocks=(2, 2, 2), activated="first", leak=0.1, eps=1e-3),
    ),
    "wrn16_2_meliketoy": (
        partial(MeliketoyWideResNet, 16, 2),
        partial(pre, blocks=(2, 2, 2), activated="none", strided=2),
    ),
    "resnet18": (partial(ResNet, 18), partial(post, blocks=(2, 2, 2, 2))),
    "resnet50": (partial(ResNet, 50), partial(post, blocks=(3, 4, 6, 3))),
    "resnet110": (partial(CifarResNet, 110), partial(post, blocks=(18, 18, 18))),
    "resnet20 pad": (partial(CifarResNet, 20, 1, "pad"), partial(post, blocks=(3, 3, 3))),
    "wrn14_2_jy": (partial(CifarResNet, 14, 2), partial(post, blocks=(2, 2, 2))),
    "resnext20": (partial(ResNeXt, 20, 4, 8), partial(post, blocks=(2, 2, 2), groups=4)),
    "densenet_bc22": (partial(DenseNetBC, 22, 6), partial(oracle.densely_connected, layers=3)),
    "proxyless": (
        partial(ProxylessNet, 4, (3, 4, 5, 6, 7, 8, 9), PROXYLESS, 10),
        partial(
            oracle.inverted,
            blocks=tuple(tuple(map(bool, stage)) for stage in PROXYLESS),
            strides=(1, 2, 2, 2, 1, 2, 1),
        ),
    ),
    "pyramidnet29": (partial(PyramidNet, 29, 20), partial(oracle.pyramidal, blocks=3)),
}


def shaken(network: nn.Module) -> nn.Module:
    """In float64, with norms and biases that do something."""
    network.double()
    for name, value in network.state_dict().items():
        if value.ndim == 1:
            positive = name.endswith("running_var")
            value.copy_(torch.rand_like(value) + 0.5 if positive else torch.randn_like(value))
    return network


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_equal_the_description(name: str, train: bool) -> None:
    torch.manual_seed(0)
    build, described = NETWORKS[name]
    network = shaken(build(num_classes=7, shape=(2, 12, 12))).train(train)
    x = torch.randn(3, 2, 12, 12, dtype=torch.float64)
    with torch.no_grad():
        expected = described(x, dict(network.state_dict()), train=train)
        torch.testing.assert_close(network(x), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["wrn16_4", "resnet20 pad", "wrn14_2_jy", "pyramidnet29"])
def test_narrowed_layers_are_the_same_network_on_fewer_channels(name: str) -> None:
    """Widths are read from tensors: the first half of every layer's channels is a network too."""
    torch.manual_seed(0)
    build, described = NETWORKS[name]
    network = shaken(build(num_classes=7, shape=(2, 10, 10)))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            out, inside = module.out_channels // 2, max(2, module.in_channels // 2)
            module.weight = nn.Parameter(module.weight[:out, :inside])
        if isinstance(module, nn.BatchNorm2d):
            half = module.num_features // 2
            module.weight = nn.Parameter(module.weight[:half])
            module.bias = nn.Parameter(module.bias[:half])
            for buffer in (module.running_mean, module.running_var):
                assert buffer is not None
                buffer.data = buffer[:half]
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight[:, : module.in_features // 2])
    x = torch.randn(3, 2, 10, 10, dtype=torch.float64)
    with torch.no_grad():
        expected = described(x, dict(network.state_dict()), train=True)
        torch.testing.assert_close(network(x), expected, rtol=1e-8, atol=1e-8)


def test_identity_shortcuts_take_the_raw_input_or_the_activated_one() -> None:
    """What the two authors' PreAct ResNets differ in: with the branch at 0 the shortcut is left."""
    torch.manual_seed(0)
    x = torch.randn(2, 64, 5, 5)
    for identity in ("raw", "activated"):
        network = PreActResNet(18, identity, num_classes=10, shape=(3, 8, 8))
        block = network.stage1[0]
        nn.init.zeros_(block.get_submodule("conv2").get_parameter("weight"))
        activated = block.get_submodule("bn1")(x).clamp(min=0)
        torch.testing.assert_close(block(x), x if identity == "raw" else activated)


def test_norms_average_as_their_authors_set_them() -> None:
    shape = (3, 32, 32)
    with torch.device("meta"):
        meliketoy = MeliketoyWideResNet(16, 1, num_classes=10, shape=shape)
        slow = oliver(16, 1, num_classes=10, shape=shape)
    assert meliketoy.bn.momentum == 0.9
    assert meliketoy.get_submodule("stage3.0.bn1").momentum == 0.1
    norms = [module for module in slow.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.001}
