"""Taps: f_k(action(g_k(x))) on any network, compiled or not, and nothing left behind."""

from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from wording import says

from vicinal.models.mlp import MLP
from vicinal.models.normalized import Normalized
from vicinal.models.preact_resnet import PreActResNet
from vicinal.models.timm import Timm
from vicinal.models.wide_resnet import WideResNet
from vicinal.surgery.taps import (
    INPUT,
    between_convolutions,
    check_layers,
    layer_names,
    run_tapped,
    tap_input,
    tapped,
)

GREY = (0.5, 0.5, 0.5)


def network() -> Normalized:
    torch.manual_seed(0)
    body = WideResNet(10, 1, num_classes=4, shape=(3, 8, 8))
    return Normalized(body, GREY, GREY).double().eval()


def images(size: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(4, 3, size, size, generator=generator, dtype=torch.float64)


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def turned(h: Tensor) -> Tensor:
    return h.flip(0) * 2 + 1


def test_each_layer_is_acted_on_where_its_name_says() -> None:
    model, x = network(), images()
    body = model.body
    assert layer_names(model) == (INPUT, "body.stem", "body.stage1", "body.stage2", "body.stage3")

    def tail(h: Tensor, *stages: nn.Module) -> Tensor:
        for stage in stages:
            h = stage(h)
        return body.fc(body.pool(body.relu(body.bn(h))).flatten(1))

    stages = [body.stem, body.stage1, body.stage2, body.stage3]
    expected = [model(turned(x))]
    for k in range(1, 5):
        h = model.normalize(x)
        for stage in stages[:k]:
            h = stage(h)
        expected.append(tail(turned(h), *stages[k:]))
    for k, name in enumerate(layer_names(model)):
        for place in (k, name):
            with tapped(model, place, turned):
                assert torch.equal(model(x), expected[k])
    assert hooks(model) == 0


def test_taps_add_up() -> None:
    model, x = network(), images()
    with tapped(model, 1, turned), tapped(model, 1, turned), tapped(model, 3, torch.zeros_like):
        both = model(x)
    with tapped(model, 3, torch.zeros_like):
        assert torch.equal(both, model(x))
    with tapped(model, 1, turned), tapped(model, 1, turned):
        twice = model(x)
    with tapped(model, 1, lambda h: turned(turned(h))):
        assert torch.equal(twice, model(x))


def test_any_module_of_a_timm_network_can_be_tapped() -> None:
    torch.manual_seed(0)
    model = Normalized(Timm("resnet18", num_classes=4, shape=(3, 32, 32)), GREY, GREY).eval()
    x = images(32).float()
    seen: list[Tensor] = []
    inside = model.body.network.layer2[0].conv2
    handle = inside.register_forward_hook(lambda _m, args, _o: seen.append(args[0]))
    name = "body.network.layer2.0.act1"
    with tapped(model, name, lambda h: h * 3):
        model(x)
    with tap_input(model, "body.network.layer2.0.conv2", lambda h: h * 3):
        model(x)
    model(x)
    handle.remove()
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2] * 3)
    assert hooks(model) == 0


class Small(nn.Module):
    """Of modules that no type checker wraps, which dynamo cannot look into."""

    stages = ("stem", "stage1")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.stage1 = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
        self.fc = nn.Linear(4, 2)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stage1(self.stem(x)).mean((2, 3)))


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("form", ["module", "wrapper"])
def test_a_network_compiled_before_is_acted_on_and_keeps_its_code(form: str, layer: int) -> None:
    plain, x = Small(), images()
    with tapped(plain, layer, turned):
        expected = plain(x)
    compiled: list[object] = []

    def backend(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> Callable[..., object]:
        compiled.append(graph)
        return graph.forward

    torch.compiler.reset()
    model: nn.Module = Small()
    if form == "module":
        model.compile(backend=backend)
    else:
        model = cast(nn.Module, torch.compile(model, backend=backend))
    before = model(x)
    assert len(compiled) == 1
    handle = model.get_submodule("stem").register_forward_hook(lambda *_: torch.zeros(()))
    assert torch.equal(model(x), before)  # a bare hook is not seen: why the tap does more
    handle.remove()
    for _ in range(2):
        with tapped(model, layer, turned):
            torch.testing.assert_close(model(x), expected)
        torch.testing.assert_close(model(x), before, rtol=0, atol=0)
    assert len(compiled) == 1


def test_hooks_are_gone_when_something_fails() -> None:
    model, x = network(), images()

    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"), tapped(model, 2, fail):
        model(x)
    with pytest.raises(RuntimeError, match="on purpose"), tap_input(model, "body.stem", fail):
        model(x)
    with pytest.raises(KeyError), tapped(model, 0, turned):
        raise KeyError
    assert hooks(model) == 0


class Odd(nn.Module):
    """Stages that leave no feature maps, and one that is not used."""

    stages = ("pair", "tokens", "idle")

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.idle = nn.Flatten(2), nn.Identity()
        self.pair = nn.MaxPool2d(2, return_indices=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(self.pair(x)[0]).mean(2)


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        (1, "^method ... (n, c, h, w) ... pair ... tuple"),
        (2, "^method ... (n, c, h, w) ... tokens ... (4, 3, 16)"),
        (3, "^idle ... forward"),
    ],
)
def test_places_without_feature_maps_are_refused_by_name(layer: int, complaint: str) -> None:
    model = Odd()
    with pytest.raises(ValueError, match=says(complaint)), tapped(model, layer, turned):
        model(images())
    assert hooks(model) == 0


def test_the_tokens_of_a_transformer_are_refused_by_name() -> None:
    options = {"depth": 1, "embed_dim": 8, "num_heads": 1}
    body = Timm("vit_tiny_patch16_224", options=options, num_classes=2, shape=(3, 32, 32))
    model = Normalized(body, GREY, GREY)
    with (
        pytest.raises(ValueError, match=says("^method ... body.network.blocks.0 ... (4, 5, 8)")),
        tapped(model, 1, turned),
    ):
        model(images(32).float())


def test_networks_and_layers_that_there_are_not_are_named() -> None:
    with pytest.raises(ValueError, match=says("^model ... Linear ... stages")):
        layer_names(nn.Linear(1, 1))
    check_layers(network(), (0, 4))
    with pytest.raises(ValueError, match=says("^method.layers ... 5 ... 0 input, 1 body.stem")):
        check_layers(network(), (0, 5))
    with pytest.raises(ValueError, match=says("stage9 ... normalize, body")):
        tapped(network(), "stage9", turned).__enter__()
    mlp = Normalized(MLP(4, 2, num_classes=2, shape=(3, 8, 8)), GREY, GREY)
    with (
        pytest.raises(ValueError, match=says("^method ... body.hidden.0 ... (4, 4)")),
        tapped(mlp, 1, turned),
    ):
        mlp(images().float())


def test_a_place_passed_twice_has_no_one_result() -> None:
    class Twice(nn.Module):
        stages = ("conv",)

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x)).mean((2, 3))

    with pytest.raises(ValueError, match=says("^1 ... once ... 2")):
        run_tapped(Twice(), images(), 1, lambda h: (h, None))
    model = network()
    logits, note = run_tapped(model, images(), 2, lambda h: (turned(h), h.shape[1]))
    assert note == 16
    with tapped(model, 2, turned):
        assert torch.equal(model(images()), logits)


def test_between_two_convolutions_there_is_one_place_a_block() -> None:
    preact = PreActResNet(18, num_classes=2, shape=(3, 8, 8))
    assert len(between_convolutions(preact)) == 8
    assert between_convolutions(preact)[0] == "stage1.0.conv2"
    timm = Timm("resnet18", num_classes=2, shape=(3, 32, 32))
    assert len(between_convolutions(timm)) == 8
    mlp = MLP(4, 2, num_classes=2, shape=(3, 8, 8))
    with pytest.raises(ValueError, match=says("^model ... conv1 ... conv2 ... MLP")):
        between_convolutions(mlp)
