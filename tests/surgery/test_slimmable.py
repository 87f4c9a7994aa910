"""A narrowed network is the full one restricted to its first channels, and nothing else changes."""

import re
from collections.abc import Callable
from typing import cast

import pytest
import torch
from oracles.gradaug import kept, masked, sliced
from oracles.networks import post_activation, pre_activation, pyramidal
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.models.densenet import DenseNetBC
from vicinal.models.mlp import MLP
from vicinal.models.normalized import Normalized
from vicinal.models.pyramidnet import PyramidNet
from vicinal.models.resnet import CifarResNet, ResNet
from vicinal.models.resnext import ResNeXt
from vicinal.models.timm import Timm
from vicinal.models.wide_resnet import WideResNet, oliver
from vicinal.models.wide_resnet_meliketoy import MeliketoyWideResNet
from vicinal.surgery.slimmable import check_slimmable, narrowed, num_channels

OURS = {
    "wrn10_2": lambda **kw: WideResNet(10, 2, **kw),
    "oliver": lambda **kw: oliver(10, 1, **kw),
    "meliketoy": lambda **kw: MeliketoyWideResNet(10, 2, **kw),
    "resnet8_pad": lambda **kw: CifarResNet(8, shortcut="pad", **kw),
    "resnet50": lambda **kw: ResNet(50, **kw),
    "resnext11": lambda **kw: ResNeXt(11, 4, 6, **kw),
    "pyramidnet29": lambda **kw: PyramidNet(29, 25, **kw),
    "mlp": lambda **kw: MLP(20, 2, **kw),
}
SHORT = {"layers": [1, 1, 1, 1], "zero_init_last": False}
TIMM = {
    "resnet50": SHORT,
    "resnext50_32x4d": SHORT,
    "seresnet18": SHORT,
    "mobilenetv3_small_100": {},
}


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name in OURS:
        return OURS[name](num_classes=4, shape=(3, 8, 8)).double()
    network = Timm(
        name.removeprefix("timm_"), False, None, TIMM[name[5:]], num_classes=4, shape=(3, 32, 32)
    )
    return network.double()


def images(count: int = 3, side: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, side, side, generator=generator, dtype=torch.float64)


def ratio(network: str) -> Callable[[str], float]:
    """rho by a layer's name: a quarter in ResNet-50's stem and its blocks' inner layers."""
    inner = re.compile(r"(^|network\.)(stem\.|conv1$|bn1$)|\d\.(conv1|bn1|conv2|bn2)$")
    cut = network in ("resnet50", "timm_resnet50")
    return lambda name: 0.25 if cut and inner.search(name) else 1.0


@pytest.mark.parametrize("width", [0.5, 0.93])
@pytest.mark.parametrize("name", [*OURS, *(f"timm_{name}" for name in TIMM)])
def test_it_is_the_full_network_with_the_other_channels_at_zero(name: str, width: float) -> None:
    model, x = built(name), images(side=32 if name.startswith("timm") else 8)
    parameters = list(model.parameters())
    expected = masked(model, width, x, ratio(name))
    generator = torch.Generator().manual_seed(2)
    direction = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad((expected * direction).sum(), parameters)
    with narrowed(model, width):
        ours = model(x)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
    found = torch.autograd.grad((ours * direction).sum(), parameters)
    for mine, reference in zip(found, gradients, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [0.8, 0.9137])
@pytest.mark.parametrize("name", ["wrn10_2", "resnet50", "resnet8_pad", "pyramidnet29"])
def test_it_is_a_separate_network_of_copied_slices(name: str, width: float) -> None:
    model, x = built(name), images()
    weights = sliced(dict(model.named_parameters()), width, ratio(name))
    expected = {
        "wrn10_2": lambda: pre_activation(x, weights, (1, 1, 1), True),
        "resnet50": lambda: post_activation(x, weights, (3, 4, 6, 3), True),
        "resnet8_pad": lambda: post_activation(x, weights, (1, 1, 1), True),
        "pyramidnet29": lambda: pyramidal(x, weights, 3, True),
    }[name]()
    with narrowed(model, width):
        torch.testing.assert_close(model(x), expected, rtol=1e-9, atol=1e-9)


def test_a_part_is_narrowed_alone_and_what_follows_takes_what_arrives() -> None:
    """A part without a classifier narrows its last layer, too."""
    torch.manual_seed(0)
    part = nn.Sequential(nn.Conv2d(3, 10, 3), nn.Conv2d(10, 8, 3))
    after, x = nn.Conv2d(8, 6, 1), torch.rand(2, 3, 9, 9)
    with narrowed(part, 0.5, classifies=False):
        inner = part(x)
        found = after(inner)
    hidden = F.conv2d(x, part[0].weight[:5], part[0].bias[:5])
    expected = F.conv2d(hidden, part[1].weight[:4, :5], part[1].bias[:4])
    torch.testing.assert_close(inner, expected)
    torch.testing.assert_close(found, F.conv2d(expected, after.weight[:, :4], after.bias))
    with narrowed(part, 0.5):
        assert part(x).shape[1] == 8  # taken for a classifier


def test_widths_are_those_of_the_authors_code() -> None:
    widths = [1, 0.95, 0.933, 0.9]
    assert [num_channels(256, w) for w in widths] == [256, 243, 239, 230]
    assert [num_channels(64, w, 0.25) for w in widths] == [64, 60, 59, 57]
    assert [num_channels(c, 0.8) for c in (16, 160, 320, 640)] == [13, 128, 256, 512]
    assert num_channels(1, 0.1) == 1
    assert num_channels(5, 0.7) == 4  # halves go up
    for count in range(1, 300):
        for width in torch.linspace(0.3, 1, 30).tolist():
            assert num_channels(count, width) == kept(count, width)
            assert 1 <= num_channels(count, width) <= count


@pytest.mark.parametrize("name", ["wrn10_2", "pyramidnet29", "resnext11"])
def test_gradients_outside_the_slice_are_exactly_zero(name: str) -> None:
    model = built(name)
    with narrowed(model, 0.7):
        loss = model(images()).square().sum()
    loss.backward()
    for layer, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            grad = module.weight.grad
            assert grad is not None, layer
            out = kept(len(grad), 0.7)
            assert not grad[out:].any(), layer
            assert grad[out - 1].any(), layer
    assert model.fc.weight.grad[:, kept(model.fc.in_features, 0.7) :].eq(0).all()
    assert model.fc.bias.grad.ne(0).all()


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("width", [0.8, 0.999])  # 0.999 keeps every channel
def test_running_statistics_are_neither_read_nor_written(mode: bool, width: float) -> None:
    model, x = built("wrn10_2").train(mode), images()
    with narrowed(model, width):
        expected = model(x)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.fill_(torch.nan)
        norm.running_var.fill_(-1)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with narrowed(model, width):
        assert torch.equal(model(x), expected)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, before[name], rtol=0, atol=0, equal_nan=True)


def test_full_width_is_the_network_itself() -> None:
    model, twin, x = built("wrn10_2"), built("wrn10_2"), images()
    with narrowed(model, 1.0):
        assert torch.equal(model(x), twin(x))
    for ours, theirs in zip(model.buffers(), twin.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert model.bn.num_batches_tracked == 1


def failing(*_: object) -> None:
    raise RuntimeError("on purpose")


def test_afterwards_everything_is_as_before_also_on_exceptions() -> None:
    model, x = built("wrn10_2"), images()
    model.stage2.eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = dict(model.named_parameters())
    modes = [m.training for m in model.modules()]
    model.relu.register_forward_pre_hook(failing)
    with pytest.raises(RuntimeError, match="on purpose"), narrowed(model, 0.6):
        model(x)
    model.relu._forward_pre_hooks.clear()
    assert [m.training for m in model.modules()] == modes
    assert all(dict(model.named_parameters())[n] is p for n, p in parameters.items())
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(model.eval()(x), model(x))
    assert model.stem(x).shape[1] == 16


class Whole(nn.Module):
    """What torch 2.11 compiles, where it leaves a module of its own as it is."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_widths_that_recur_are_compiled_at_most_once_each() -> None:
    torch.manual_seed(0)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)]
    layers = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), *head).double()
    plain, model, x, graphs = Whole(layers), Whole(layers), images(), []

    def backend(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    model.compile(backend=backend)
    for width in (1, 0.7, 0.9, 0.8, 0.9, 0.7, 1, 0.8):
        with narrowed(plain, width):
            expected = plain(x)
        with narrowed(model, width, recurs=True):
            assert torch.equal(model(x), expected)
    assert 1 < len(graphs) <= 4  # some code may serve several


@pytest.mark.parametrize("form", ["module", "function"])
def test_a_compiled_network_is_narrowed_uncompiled(form: str) -> None:
    torch.manual_seed(0)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)]
    layers = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), *head).double()
    plain = Whole(layers)
    model, x, graphs = cast(nn.Module, plain), images(), []
    with narrowed(plain, 0.7):
        expected = plain(x)

    def backend(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    if form == "module":
        model.compile(backend=backend)
    else:
        model = cast(nn.Module, torch.compile(model, backend=backend))
    full = model(x)
    for width in (0.7, 0.8, 0.9):
        with narrowed(model, width):
            narrow = model(x)
        if width == 0.7:
            assert torch.equal(narrow, expected)
    assert torch.equal(model(x), full)
    assert len(graphs) == 1


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.GroupNorm(2, 8), "GroupNorm at 1"),
        (nn.InstanceNorm2d(8), "InstanceNorm2d at 1"),
        (nn.ConvTranspose2d(8, 8, 3), "ConvTranspose2d at 1"),
        (nn.PReLU(), "PReLU at 1"),
        (nn.SyncBatchNorm(8), "SyncBatchNorm at 1"),
        (nn.MultiheadAttention(8, 1), "MultiheadAttention at 1"),
    ],
)
def test_what_mixes_channels_is_refused(layer: nn.Module, said: str) -> None:
    with pytest.raises(ValueError, match=says(f"^model ... {said}")):
        check_slimmable(nn.Sequential(nn.Conv2d(3, 8, 3), layer, nn.Linear(8, 2)))


def test_concatenation_is_refused_where_it_happens() -> None:
    dense = DenseNetBC(10, 4, num_classes=4, shape=(3, 8, 8)).double()
    message = says("^model ... narrowed ... cat")
    with pytest.raises(ValueError, match=message), narrowed(dense, 0.75):
        dense(images())
    assert dense(images()).shape == (3, 4)


@pytest.mark.parametrize("width", [0.0, -0.5, 1.01])
def test_a_width_is_a_share(width: float) -> None:
    with pytest.raises(ValueError, match=says("^width ... 0 ... 1")):
        narrowed(built("wrn10_2"), width).__enter__()


def test_a_network_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match=says("^model ... narrow")):
        check_slimmable(nn.ReLU())
    body = WideResNet(10, 1, num_classes=4, shape=(3, 8, 8))
    check_slimmable(Normalized(body, (0.5,) * 3, (0.5,) * 3))
