"""What a user can get wrong is refused with the argument, the rule and the value."""

import re
from collections.abc import Callable

import pytest
from torch import nn

from vicinal.models.arguments import one_of
from vicinal.models.densenet import DenseNetBC
from vicinal.models.mlp import MLP
from vicinal.models.preact_resnet import CifarPreActResNet, PreActResNet
from vicinal.models.pyramidnet import PyramidNet
from vicinal.models.resnet import CifarResNet, ResNet
from vicinal.models.resnext import ResNeXt
from vicinal.models.wide_resnet import WideResNet
from vicinal.models.wide_resnet_meliketoy import MeliketoyWideResNet

IMAGE = (3, 32, 32)


@pytest.mark.parametrize(
    ("build", "arguments", "shape", "message"),
    [
        (WideResNet, (27, 10), IMAGE, "depth must be 6n + 4, got 27 (three groups of n"),
        (WideResNet, (4, 10), IMAGE, "depth must be 6n + 4, got 4 "),
        (WideResNet, (28, 0), IMAGE, "width must be at least 1, got 0"),
        (WideResNet, (28, 10), (30,), "shape must be (channels, height, width), got (30,)"),
        (MeliketoyWideResNet, (29, 10), IMAGE, "depth must be 6n + 4, got 29"),
        (MeliketoyWideResNet, (28, 10, 0), IMAGE, "stem_stride must be at least 1, got 0"),
        (PreActResNet, (20,), IMAGE, "depth must be one of 18, 34, got 20"),
        (CifarPreActResNet, (111,), IMAGE, "depth must be 6n + 2, got 111"),
        (ResNet, (19,), IMAGE, "depth must be one of 18, 34, 50, 101, 152, got 19"),
        (CifarResNet, (28, 10), IMAGE, "depth must be 6n + 2, got 28"),
        (ResNeXt, (30, 4, 32), IMAGE, "depth must be 9n + 2, got 30"),
        (ResNeXt, (29, 0, 32), IMAGE, "cardinality must be at least 1, got 0"),
        (DenseNetBC, (190, 0), IMAGE, "growth must be at least 1, got 0"),
        (PyramidNet, (201, 240), IMAGE, "depth must be 9n + 2, got 201"),
        (MLP, (128, 0), (30,), "hidden_layers must be at least 1, got 0"),
    ],
)
def test_impossible_arguments_are_refused(
    build: Callable[..., nn.Module],
    arguments: tuple[int, ...],
    shape: tuple[int, ...],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build(*arguments, num_classes=10, shape=shape)


def test_unknown_choices_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"^init must be one of fan_in, fan_out, got fan$"):
        one_of("init", "fan", ("fan_in", "fan_out"))
