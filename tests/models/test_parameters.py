"""Sizes and initialisations are those of the fact sheets."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from vicinal.models.densenet import DenseNetBC
from vicinal.models.init import without_weights
from vicinal.models.lenet import LeNet
from vicinal.models.mlp import MLP
from vicinal.models.preact_resnet import CifarPreActResNet, PreActResNet
from vicinal.models.pyramidnet import PyramidNet
from vicinal.models.resnet import CifarResNet, ResNet
from vicinal.models.resnext import ResNeXt
from vicinal.models.timm import Timm
from vicinal.models.vgg import VGG11
from vicinal.models.wide_resnet import WideResNet, oliver
from vicinal.models.wide_resnet_meliketoy import MeliketoyWideResNet

Build = Callable[..., nn.Module]


def built(build: Build, num_classes: int, size: int = 32) -> nn.Module:
    with without_weights():
        return build(num_classes=num_classes, shape=(3, size, size))


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("build", "num_classes", "expected"),
    [
        (partial(PreActResNet, 18), 10, 11_171_146),
        (partial(PreActResNet, 18), 100, 11_217_316),
        (partial(PreActResNet, 18, "activated", "conv_bn_relu"), 10, 11_171_274),
        (partial(PreActResNet, 34), 10, 21_279_306),
        (partial(PreActResNet, 34), 100, 21_325_476),
        (partial(CifarPreActResNet, 110), 10, 1_730_522),
        (partial(WideResNet, 28, 10), 10, 36_479_194),
        (partial(WideResNet, 28, 10), 100, 36_536_884),
        (partial(MeliketoyWideResNet, 28, 10), 10, 36_489_290),
        (partial(MeliketoyWideResNet, 28, 10), 100, 36_546_980),
        (partial(ResNet, 18), 10, 11_173_962),
        (partial(CifarResNet, 110), 10, 1_730_714),
        (partial(CifarResNet, 110), 100, 1_736_564),
        (partial(CifarResNet, 26, 10), 10, 36_481_434),
        (partial(DenseNetBC, 190, 40), 10, 25_624_430),
        (partial(PyramidNet, 200, 240), 100, 26_844_952),
        (partial(Timm, "resnet50"), 1000, 25_557_032),
    ],
)
def test_parameter_counts(build: Build, num_classes: int, expected: int) -> None:
    assert num_parameters(built(build, num_classes)) == expected


@pytest.mark.parametrize(("depth", "blocks"), [(101, (3, 4, 23, 3)), (152, (3, 8, 36, 3))])
def test_bottleneck_counts_follow_from_the_shapes(depth: int, blocks: tuple[int, ...]) -> None:
    """The sheet states no number for these: each block is 17 p^2 (+ c_in p), norms 12 p, …"""
    expected, channels = 3 * 9 * 64 + 2 * 64, 64
    for stage, num in enumerate(blocks):
        p = 64 * 2**stage
        expected += 4 * p * channels + 2 * 4 * p  # projection and its norm
        for _ in range(num):
            expected += channels * p + 9 * p * p + 4 * p * p + 2 * (p + p + 4 * p)
            channels = 4 * p
    expected += 200 * 2048 + 200
    assert num_parameters(built(partial(ResNet, depth, 2), 200, 64)) == expected


@pytest.mark.parametrize(
    ("build", "in_norms", "other_norms", "expected"),
    [
        (partial(ResNet, 18), 6, 14, {10: 11_182_666, 100: 11_228_836, 200: 11_280_136}),
        (partial(WideResNet, 40, 2), 12, 25, {10: 2_248_426, 100: 2_260_036}),
        (partial(ResNeXt, 29, 4, 32), 6, 25, {10: 6_831_946, 100: 6_924_196}),
        (partial(Timm, "resnet18"), 6, 14, {1000: 11_698_216}),
    ],
    ids=["resnet18", "wrn40_2", "resnext29", "timm-resnet18"],
)
def test_two_norms_a_place_give_the_published_counts(
    build: Build, in_norms: int, other_norms: int, expected: dict[int, int]
) -> None:
    """The AugMax sheet's placement: every norm becomes two, but the first of each block before the
    last stage becomes an instance norm on one half of the channels and two norms on the other.
    """
    for num_classes, count in expected.items():
        network = built(build, num_classes)
        last = list(network.stages)[-1]
        norms = {k: m for k, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
        in_blocks = {
            k
            for k in norms
            if k.endswith(".bn1") and any(k.startswith(s) for s in network.stages if s != last)
        }
        assert (len(in_blocks), len(norms) - len(in_blocks)) == (in_norms, other_norms)
        added = 0
        for name, norm in norms.items():
            half, rest = divmod(norm.num_features, 2)
            assert rest == 0
            both = 2 * half + 2 * 2 * half if name in in_blocks else 2 * 2 * norm.num_features
            added += both - 2 * norm.num_features
        assert num_parameters(network) + added == count


@pytest.mark.parametrize(
    ("build", "fan"),
    [
        (partial(WideResNet, 16, 2), "in"),
        (partial(WideResNet, 16, 2, "fan_out"), "out"),
        (partial(oliver, 16, 2), "out"),
        (partial(CifarPreActResNet, 20), "out"),
        (partial(CifarResNet, 20), "out"),
        (partial(ResNeXt, 20, 4, 8), "out"),
        (partial(DenseNetBC, 22, 12), "out"),
        (partial(PyramidNet, 29, 24), "out"),
    ],
)
def test_convolutions_start_normal_with_variance_two_over_fan(build: Build, fan: str) -> None:
    torch.manual_seed(0)
    network = build(num_classes=10, shape=(3, 32, 32))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            kernel = math.prod(module.kernel_size)
            channels = module.in_channels if fan == "in" else module.out_channels
            z = module.weight.detach().flatten() / math.sqrt(2 / (kernel * channels))
            n = len(z)
            assert abs(float(z.mean())) < 5 / math.sqrt(n)
            assert abs(float(z.square().mean()) - 1) < 5 * math.sqrt(2 / n)
            assert abs(float(z.pow(4).mean()) - 3) < 5 * math.sqrt(96 / n)  # normal, not uniform
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all())
            assert bool((module.bias == 0).all())


def test_default_initialisation_is_pytorchs() -> None:
    """PreAct ResNet-18 and the meliketoy network state none: uniform up to 1 / sqrt(fan in)."""
    torch.manual_seed(0)
    for build in (partial(PreActResNet, 18), partial(MeliketoyWideResNet, 16, 2)):
        network = build(num_classes=10, shape=(3, 32, 32))
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                bound = 1 / math.sqrt(module.in_channels * math.prod(module.kernel_size))
                assert 0.95 * bound < float(module.weight.detach().abs().max()) <= bound


def test_classifiers_start_as_stated() -> None:
    torch.manual_seed(0)
    shape = (3, 32, 32)
    wide = WideResNet(10, 8, num_classes=200, shape=shape)
    slow = oliver(10, 8, num_classes=200, shape=shape)
    resnext = ResNeXt(11, 2, 4, num_classes=200, shape=shape)
    for network in (wide, slow, resnext):
        assert bool((network.fc.bias == 0).all())
    glorot, he = math.sqrt(2 / (512 + 200)), math.sqrt(2 / 1024)
    assert float(slow.fc.weight.detach().std()) == pytest.approx(glorot, rel=0.02)
    assert float(resnext.fc.weight.detach().std()) == pytest.approx(he, rel=0.02)


def test_mlp_counts() -> None:
    """Two hidden layers of 128 units, whether the input is a vector or an image."""
    hidden = 128 * 128 + 128
    vector = MLP(128, 2, num_classes=3, shape=(30,))
    assert num_parameters(vector) == 30 * 128 + 128 + hidden + 128 * 3 + 3
    image = MLP(128, 2, num_classes=10, shape=(1, 16, 16))
    assert num_parameters(image) == 256 * 128 + 128 + hidden + 128 * 10 + 10


@pytest.mark.parametrize("height", [160, 161])
def test_counts_of_networks_for_spectrograms(height: int) -> None:
    """Maps of 37 x 22 and 5 x 3 are flattened, of the code's 161 frequencies as of mixup's 160."""
    shape = (1, height, 101)
    lenet = num_parameters(LeNet(num_classes=30, shape=shape))
    convolutions = (25 + 1) * 20 + (25 * 20 + 1) * 20
    assert lenet == convolutions + (16_280 + 1) * 1000 + (1000 + 1) * 30
    vgg = num_parameters(VGG11(num_classes=30, shape=shape))
    widths = [1, 64, 128, 256, 256, 512, 512, 512, 512]
    convolutions = sum((9 * a + 1) * b + 2 * b for a, b in itertools.pairwise(widths))  # and norms
    assert vgg == convolutions + (7_680 + 1) * 512 + (512 + 1) * 30
