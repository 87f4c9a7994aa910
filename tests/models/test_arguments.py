"""What a user can get wrong is refused with the argument, the rule and the value."""

from collections.abc import Callable

import pytest
from torch import nn
from wording import says

from vicinal.models.arguments import one_of
from vicinal.models.densenet import DenseNetBC
from vicinal.models.lenet import LeNet
from vicinal.models.mlp import MLP
from vicinal.models.preact_resnet import CifarPreActResNet, PreActResNet
from vicinal.models.pyramidnet import PyramidNet
from vicinal.models.resnet import CifarResNet, ResNet
from vicinal.models.resnext import ResNeXt
from vicinal.models.vgg import VGG11
from vicinal.models.wide_resnet import WideResNet
from vicinal.models.wide_resnet_meliketoy import MeliketoyWideResNet

IMAGE = (3, 32, 32)


@pytest.mark.parametrize(
    ("build", "arguments", "shape", "message"),
    [
        (WideResNet, (27, 10), IMAGE, "depth ... 6n ... 4 ... 27"),
        (WideResNet, (4, 10), IMAGE, "depth ... 6n ... 4"),
        (WideResNet, (28, 0), IMAGE, "width ... 1 ... 0"),
        (
            WideResNet,
            (28, 10),
            (30,),
            "shape ... (30,) ... model=mlp",
        ),
        (MeliketoyWideResNet, (29, 10), IMAGE, "depth ... 6n ... 4 ... 29"),
        (MeliketoyWideResNet, (28, 10, 0), IMAGE, "stem_stride ... 1 ... 0"),
        (PreActResNet, (20,), IMAGE, "depth ... 18 ... 34 ... 20"),
        (CifarPreActResNet, (111,), IMAGE, "depth ... 6n ... 2 ... 111"),
        (ResNet, (19,), IMAGE, "depth ... 18 ... 34 ... 50 ... 101 ... 152 ... 19"),
        (CifarResNet, (28, 10), IMAGE, "depth ... 6n ... 2 ... 28"),
        (ResNeXt, (30, 4, 32), IMAGE, "depth ... 9n ... 2 ... 30"),
        (ResNeXt, (29, 0, 32), IMAGE, "cardinality ... 1 ... 0"),
        (DenseNetBC, (190, 0), IMAGE, "growth ... 1 ... 0"),
        (PyramidNet, (201, 240), IMAGE, "depth ... 9n ... 2 ... 201"),
        (MLP, (128, 0), (30,), "hidden_layers ... 1 ... 0"),
        (LeNet, (), (1, 15, 101), "shape ... 16 x 16 ... 15 x 101"),
        (LeNet, (), (30,), "shape ... (30,) ... model=mlp"),
        (VGG11, (), (1, 161, 31), "shape ... 32 x 32 ... 161 x 31"),
    ],
)
def test_impossible_arguments_are_refused(
    build: Callable[..., nn.Module],
    arguments: tuple[int, ...],
    shape: tuple[int, ...],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=says(message)):
        build(*arguments, num_classes=10, shape=shape)


def test_unknown_choices_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match=says("^init ... fan_in ... fan_out")):
        one_of("init", "fan", ("fan_in", "fan_out"))
