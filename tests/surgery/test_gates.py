"""Gates stand at the end of every residual branch, and only `gating` and tests make them act."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from oracles.networks import batch_norm, conv, pad_with_zeros, pool_2x2, relu
from torch import Tensor, nn
from wording import says

from vicinal.models.densenet import DenseNetBC
from vicinal.models.mlp import MLP
from vicinal.models.preact_resnet import PreActResNet
from vicinal.models.pyramidnet import PyramidNet
from vicinal.models.resnet import CifarResNet, ResNet
from vicinal.models.resnext import ResNeXt
from vicinal.models.timm import Timm
from vicinal.models.wide_resnet import WideResNet, oliver
from vicinal.models.wide_resnet_meliketoy import MeliketoyWideResNet
from vicinal.surgery.gates import Gate, add_gates, closed, gating, passing

SHAPE = {"num_classes": 4, "shape": (3, 32, 32)}
ENDS: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "wrn": (lambda: WideResNet(16, 1, **SHAPE), "conv2", 6),
    "meliketoy": (lambda: MeliketoyWideResNet(10, 1, **SHAPE), "conv2", 3),
    "preact": (lambda: PreActResNet(18, **SHAPE), "conv2", 8),
    "resnet20": (lambda: CifarResNet(20, **SHAPE), "bn2", 9),
    "resnet50": (lambda: ResNet(50, **SHAPE), "bn3", 16),
    "resnext": (lambda: ResNeXt(11, 2, 4, **SHAPE), "bn3", 3),
    "pyramidnet": (lambda: PyramidNet(20, 12, **SHAPE), "bn4", 6),
    "timm resnet18": (lambda: Timm("resnet18", **SHAPE), "drop_path", 8),
    "timm resnet50": (lambda: Timm("resnet50", **SHAPE), "drop_path", 16),
    # Of its 16 blocks ten have a shortcut.
    "timm efficientnet": (lambda: Timm("efficientnet_b0", **SHAPE), "drop_path", 9),
}


def images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(4, 3, 8, 8, generator=generator, dtype=torch.float64)


def gates(model: nn.Module) -> dict[str, Gate]:
    return {name: m for name, m in model.named_modules() if isinstance(m, Gate)}


@pytest.mark.parametrize("name", ENDS)
def test_every_branch_is_gated_at_its_end(name: str) -> None:
    build, end, count = ENDS[name]
    with torch.device("meta"):
        found = gates(add_gates(build(), 0.5, scaled=True))
    assert [path.rpartition(".")[2] for path in found] == [end] * count
    expected = [1 - depth / count * 0.5 for depth in range(1, count + 1)]
    assert [gate.survival for gate in found.values()] == pytest.approx(expected)
    assert expected[-1] == 0.5


def residual_network(x: Tensor, w: dict[str, Tensor], factors: list[float]) -> Tensor:
    """ResNet-8 in a test, its branches times the factors; shortcuts pool and pad."""
    x = relu(batch_norm(conv(x, w, "stem.conv"), w, "stem.bn", False))
    for stage, factor in enumerate(factors, start=1):
        name, stride = f"stage{stage}.0", 1 if stage == 1 else 2
        out = relu(batch_norm(conv(x, w, f"{name}.conv1", stride), w, f"{name}.bn1", False))
        out = batch_norm(conv(out, w, f"{name}.conv2"), w, f"{name}.bn2", False)
        skip = pad_with_zeros(pool_2x2(x) if stride == 2 else x, out.shape[1])
        x = relu(skip + factor * out)
    return x.mean((2, 3)) @ w["fc.weight"].T + w["fc.bias"]


def resnet8() -> nn.Module:
    torch.manual_seed(0)
    return CifarResNet(8, shortcut="pad", num_classes=4, shape=(3, 8, 8)).double()


@pytest.mark.parametrize("scaled", [True, False])
def test_tests_scale_each_branch_by_its_survival_if_wanted(scaled: bool) -> None:
    plain, gated = resnet8(), add_gates(resnet8(), 0.4, scaled=scaled)
    weights = dict(plain.state_dict())
    factors = [0.8, 0.6, 0.4] if scaled else [1.0] * 3
    expected = residual_network(images(), weights, factors)
    torch.testing.assert_close(gated.eval()(images()), expected, rtol=1e-10, atol=1e-10)


def test_in_training_a_network_is_what_it_was_until_gates_act() -> None:
    plain, gated, x = resnet8(), add_gates(resnet8(), 0.5, scaled=True), images()
    assert torch.equal(gated(x), plain(x))
    names = [name.replace(".layer", "") for name in gated.state_dict()]
    assert names == list(plain.state_dict())
    with gating(gated, lambda _: passing):
        assert torch.equal(gated(x), plain(x))
    seen = []
    with gating(gated, lambda survival: seen.append(survival) or closed):
        everything_closed = gated(x)
    torch.testing.assert_close(seen, [1 - 0.5 * depth / 3 for depth in (1, 2, 3)])
    stem = plain.stem(x)
    skips = pad_with_zeros(pool_2x2(pool_2x2(stem)), 64)
    expected = plain.fc(skips.mean((2, 3)))
    torch.testing.assert_close(everything_closed, expected)
    assert all(gate.act is None for gate in gates(gated).values())


def test_gates_are_released_when_the_network_fails() -> None:
    gated = add_gates(resnet8(), 0.5, scaled=True)
    with pytest.raises(RuntimeError), gating(gated, lambda _: closed):
        gated(images()[:, :2])
    assert all(gate.act is None for gate in gates(gated).values())


def test_a_closed_branch_gets_gradients_of_zero() -> None:
    gated = add_gates(resnet8(), 0.5, scaled=True)
    with gating(gated, lambda _: closed):
        gated(images()).sum().backward()
    for name, parameter in gated.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.any() == (not name.startswith("stage")), name


OURS = {name: build for name, (build, *_) in ENDS.items() if not name.startswith("timm")}
OURS |= {"preact shared": lambda: PreActResNet(18, "activated", **SHAPE)}
OURS |= {"oliver": lambda: oliver(16, 1, **SHAPE)}


def gated(name: str) -> nn.Module:
    torch.manual_seed(0)
    return add_gates(OURS[name](), 0.5, scaled=True).double()


@pytest.mark.parametrize("name", OURS)
def test_a_closed_branch_is_not_computed(name: str) -> None:
    """The authors' code: "only compute convolutional output when gate is open"."""
    model = gated(name)
    branches = [m for g in gates(model).values() for b in (*g.before, g.layer) for m in b.modules()]
    norms = [m for m in branches if isinstance(m, nn.BatchNorm2d)]
    assert norms
    for module in branches:
        for parameter in module.parameters():
            parameter.data.fill_(torch.nan)  # as is whatever is computed of it, times 0 too
    with gating(model, lambda _: closed):
        assert model(images()).isfinite().all()
    assert all(m.num_batches_tracked == 0 and not m.running_mean.any() for m in norms)
    assert not any("forward" in vars(m) for m in model.modules())
    assert model(images()).isnan().all()


@pytest.mark.parametrize("name", OURS)
def test_a_closed_branch_trains_as_one_times_0(name: str) -> None:
    """Also where its block changes shapes, and next to open ones, whose statistics are alike."""
    model, twin = gated(name), gated(name)
    for skipping in ([0, 1], [1, 0]):
        queues = [iter(skipping * 9), iter(skipping * 9)]
        with gating(model, lambda _, draws=queues[0]: closed if next(draws) else passing):
            ours = model(images())
        with gating(twin, lambda _, draws=queues[1]: partial(torch.mul, 1 - next(draws))):
            expected = twin(images())
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
        found = torch.autograd.grad(ours.square().sum(), list(model.parameters()))
        reference = torch.autograd.grad(expected.square().sum(), list(twin.parameters()))
        for mine, other in zip(found, reference, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)
    for (place, mine), other in zip(model.named_modules(), twin.modules(), strict=True):
        if isinstance(mine, nn.BatchNorm2d) and mine.num_batches_tracked == 2:
            torch.testing.assert_close(mine.running_var, other.running_var, msg=place)


def test_networks_without_residual_blocks_are_refused() -> None:
    for model in (MLP(8, 1, **SHAPE), DenseNetBC(10, 4, **SHAPE)):
        with pytest.raises(ValueError, match=says("^model ... residual blocks")):
            add_gates(model, 0.5, scaled=True)
    dropping = Timm("resnet18", False, None, {"drop_path_rate": 0.1}, **SHAPE)
    with pytest.raises(ValueError, match=says("^model ... drop_path_rate")):
        add_gates(dropping, 0.5, scaled=True)
