"""The places inside residual blocks, in our networks and in timm's."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from vicinal.models.densenet import DenseNetBC
from vicinal.models.normalized import Normalized
from vicinal.models.pyramidnet import PyramidNet
from vicinal.models.resnet import CifarResNet, ResNet
from vicinal.models.resnext import ResNeXt
from vicinal.models.timm import Timm
from vicinal.models.wide_resnet import WideResNet
from vicinal.models.wide_resnet_meliketoy import MeliketoyWideResNet
from vicinal.surgery.branches import Block, add_shortcuts, residual_groups

SHAPE = {"num_classes": 4, "shape": (3, 32, 32)}
# How many blocks each group has, and the last block's places.
FOUND: dict[str, tuple[Callable[[], nn.Module], list[int], Block]] = {
    "wrn": (
        lambda: WideResNet(16, 1, **SHAPE),
        [2, 2, 2],
        Block(("stage3.1.conv2",), "stage3.1.conv2", "stage3.1.shortcut"),
    ),
    "meliketoy": (
        lambda: MeliketoyWideResNet(10, 1, **SHAPE),
        [1, 1, 1],
        Block(("stage3.0.conv2",), "stage3.0.conv2", "stage3.0.shortcut"),
    ),
    "resnet20": (
        lambda: CifarResNet(20, **SHAPE),
        [3, 3, 3],
        Block(("stage3.2.conv2",), "stage3.2.bn2", "stage3.2.shortcut"),
    ),
    "resnet50": (
        lambda: ResNet(50, **SHAPE),
        [3, 4, 6, 3],
        Block(("stage4.2.conv2", "stage4.2.conv3"), "stage4.2.bn3", "stage4.2.shortcut"),
    ),
    "resnext": (
        lambda: ResNeXt(11, 2, 4, **SHAPE),
        [1, 1, 1],
        Block(("stage3.0.conv2", "stage3.0.conv3"), "stage3.0.bn3", "stage3.0.shortcut"),
    ),
    "pyramidnet": (
        lambda: PyramidNet(20, 12, **SHAPE),
        [2, 2, 2],
        Block(("stage3.1.conv2", "stage3.1.conv3"), "stage3.1.bn4", "stage3.1.shortcut"),
    ),
    "timm resnet18": (
        lambda: Timm("resnet18", **SHAPE),
        [2, 2, 2, 2],
        Block(("network.layer4.1.conv2",), "network.layer4.1.bn2", "network.layer4.1.downsample"),
    ),
    "timm resnet50d": (
        lambda: Timm("resnet50d", **SHAPE),
        [3, 4, 6, 3],
        Block(
            ("network.layer4.2.conv2", "network.layer4.2.conv3"),
            "network.layer4.2.bn3",
            "network.layer4.2.downsample",
        ),
    ),
    "normalized": (
        lambda: Normalized(WideResNet(10, 1, **SHAPE), (0.5,) * 3, (0.5,) * 3),
        [1, 1, 1],
        Block(("body.stage3.0.conv2",), "body.stage3.0.conv2", "body.stage3.0.shortcut"),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_every_block_is_found_with_its_places(name: str) -> None:
    build, counts, last = FOUND[name]
    with torch.device("meta"):
        model = add_shortcuts(build())
        bare = build()
    groups = residual_groups(model)
    assert [len(group) for group in groups] == counts
    assert groups[-1][-1] == last
    for block in (block for group in groups for block in group):
        for place in (*block.inner, block.end, block.shortcut):
            assert isinstance(model.get_submodule(place), nn.Module)
    assert list(model.state_dict()) == list(bare.state_dict())


@pytest.mark.parametrize("name", ["efficientnet_b0", "resnetv2_50"])
def test_blocks_of_another_form_are_not_taken_for_these(name: str) -> None:
    """timm's pre-activation blocks would pass a module at the shortcut what they activated."""
    with torch.device("meta"):
        model = Timm(name, **SHAPE)
    before = [module for module, _ in model.named_modules()]
    assert residual_groups(add_shortcuts(model)) == []
    assert [module for module, _ in model.named_modules()] == before


def test_networks_without_shortcuts_have_none() -> None:
    with torch.device("meta"):
        assert residual_groups(DenseNetBC(22, 12, **SHAPE)) == []
