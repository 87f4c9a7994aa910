"""ShakeDrop, stochastic depth and drop-path against their equations, on a linear residual block."""

from collections.abc import Iterator
from itertools import product
from math import prod

import pytest
import torch
from residual_samples import batch as pictures
from residual_samples import resnet
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.contracts import Method
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.methods.drop_path import DropPath
from vicinal.methods.shakedrop import Shake, ShakeDrop
from vicinal.methods.stochastic_depth import StochasticDepth
from vicinal.surgery.gates import Act, closed, gating, passing
from vicinal.vicinities.cutmix import CutMix
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup


class Block(nn.Module):
    """x + A x: its branch is read off its output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 4, 1, bias=False)
        self.shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.conv1(x)


class Network(nn.Module):
    def __init__(self, num_blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block() for _ in range(num_blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x).mean((2, 3))


def network(num_blocks: int = 1) -> Network:
    torch.manual_seed(0)
    return Network(num_blocks).double()


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 4, 3, 3, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.arange(count) % 4, 4).double()


@pytest.mark.parametrize("seed", range(6))  # the gate is open in some, closed in others
def test_shakedrop_equals_its_definition(seed: int) -> None:
    x, y = batch()
    method = ShakeDrop(Mixup(), survival=0.5)
    model = method.prepare(network())
    (loss,) = method(model, x, y, Rng.seeded(seed))
    loss.backward()
    rng = Rng.seeded(seed)
    mixed_x, mixed_y = Mixup()(x, y, rng)
    b = float(torch.rand(1, generator=rng.cpu) < 0.5)
    alpha, beta = torch.zeros(6), torch.zeros(6)
    if not b:
        alpha = -1 + 2 * torch.rand(6, generator=rng.device, dtype=torch.float64)
        beta = torch.rand(6, generator=rng.device, dtype=torch.float64)
    weight = network().blocks[0].conv1.weight.detach()[:, :, 0, 0]
    expected, gradient = 0.0, torch.zeros(4, 4, dtype=torch.float64)
    for i in range(6):
        forward, backward = (float(b + c[i] - b * c[i]) for c in (alpha, beta))
        pixels = mixed_x[i].flatten(1)
        logits = (pixels + forward * weight @ pixels).mean(1)
        expected -= float((mixed_y[i] * logits.log_softmax(0)).sum()) / 6
        error = (logits.softmax(0) - mixed_y[i]) / 6
        gradient += backward * torch.outer(error, pixels.mean(1))
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    (parameter,) = model.parameters()
    torch.testing.assert_close(parameter.grad[:, :, 0, 0], gradient, rtol=1e-10, atol=1e-12)


def test_shaking_is_alpha_forward_and_beta_backward() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    alpha, beta = torch.tensor([[-1.0], [0.5], [0.0]]), torch.tensor([[0.3], [0.0], [1.0]])
    out = Shake.apply(x, alpha, beta)
    assert torch.equal(out, alpha * x)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(grad, beta.expand(3, 2))


def branch_factors(method: Method, steps: int, count: int = 6) -> Tensor:
    """What each image's branch was multiplied by in each step: steps x blocks x images."""
    model, (x, y) = method.prepare(network(3)), batch(count)
    found: list[list[Tensor]] = []
    for block in model.blocks:
        block.register_forward_hook(lambda m, args, out: found[-1].append(factor(m, args[0], out)))

    def factor(block: nn.Module, x: Tensor, out: Tensor) -> Tensor:
        branch = block.conv1.layer(x).flatten(1)
        return ((out - x).flatten(1) * branch).sum(1) / branch.square().sum(1)

    rng = Rng.seeded(0)
    with torch.no_grad():
        for _ in range(steps):
            found.append([])
            list(method(model, x, y, rng))
    return torch.stack([torch.stack(blocks) for blocks in found])


STEPS = 250
SURVIVALS = torch.tensor([5 / 6, 4 / 6, 3 / 6], dtype=torch.float64)


def test_shakedrop_keeps_a_batch_or_shakes_each_image() -> None:
    factors = branch_factors(ShakeDrop(Identity()), STEPS)
    kept = (factors - 1).abs().amax(2) < 1e-9
    assert ((kept.double().mean(0) - SURVIVALS).abs() < 4.5 * 0.5 / STEPS**0.5).all()
    shaken = factors[~kept]
    assert shaken.std(1).min() > 0  # no two images alike
    assert -1 <= shaken.min() < -0.95
    assert 0.95 < shaken.max() <= 1
    assert shaken.mean().abs() < 4.5 * 3**-0.5 / shaken.numel() ** 0.5


def test_stochastic_depth_keeps_a_batch_or_drops_it() -> None:
    factors = branch_factors(StochasticDepth(Identity()), STEPS).round(decimals=9)
    assert (factors == factors[:, :, :1]).all()
    assert factors.unique().tolist() == [0, 1]
    mean = factors[:, :, 0].mean(0)
    assert ((mean - SURVIVALS).abs() < 4.5 * 0.5 / STEPS**0.5).all()


def test_drop_path_drops_images_and_keeps_the_expectation() -> None:
    factors = branch_factors(DropPath(Identity(), survival=0.5), 200, count=8)
    assert ((factors.mean((0, 2)) - 1).abs() < 4.5 / 1600**0.5).all()
    for block, survival in enumerate(SURVIVALS.tolist()):
        values = factors[:, block].round(decimals=9).unique()
        torch.testing.assert_close(values, torch.tensor([0, 1 / survival], dtype=torch.float64))
    assert (factors.std(2) > 0).double().mean() > 0.9


def test_stochastic_depth_is_tested_as_the_mean_of_what_it_trains() -> None:
    """Eq. 5, where it is exact: over all choices of branches in a network that is linear."""
    model, (x, _) = StochasticDepth(Identity(), survival=0.3).prepare(network(3)), batch()
    mean = torch.zeros(6, 4, dtype=torch.float64)
    for kept in product((True, False), repeat=3):
        draws, chances = iter(kept), []

        def draw(survival: float, draws: Iterator[bool] = draws, chances: list = chances) -> Act:
            keep = next(draws)
            chances.append(survival if keep else 1 - survival)
            return passing if keep else closed

        with gating(model, draw), torch.no_grad():
            mean += model(x) * prod(chances)
    torch.testing.assert_close(model.eval()(x), mean)


def test_stochastic_depth_records_what_it_computes() -> None:
    (x, y), rng = pictures(), Rng.seeded(0)
    method = StochasticDepth(Identity())
    model = method.prepare(resnet())
    for _ in range(8):
        list(method(model, x, y, rng))
    rng, counts = Rng.seeded(0), torch.zeros(9)
    for _ in range(8):
        draws = torch.cat([torch.rand(1, generator=rng.shared) for _ in range(9)])
        counts += draws < 1 - torch.arange(1, 10) / 9 * 0.5
    blocks = [block for name in ("stage1", "stage2", "stage3") for block in getattr(model, name)]
    for norm in ("bn1", "bn2.layer"):
        recorded = [int(b.get_submodule(norm).num_batches_tracked) for b in blocks]
        assert recorded == counts.tolist()
    assert model.stem.bn.num_batches_tracked == 8
    assert blocks[3].shortcut.bn.num_batches_tracked == 8  # no branch's


@pytest.mark.parametrize("method", [ShakeDrop, StochasticDepth, DropPath])
def test_a_survival_of_one_is_the_network_over_its_vicinity(method: type) -> None:
    x, y = batch()
    made = method(CutMix(), survival=1.0)
    model = made.prepare(network(3))
    (ours,) = made(model, x, y, Rng.seeded(0))
    mixed_x, mixed_y = CutMix()(x, y, Rng.seeded(0))
    torch.testing.assert_close(ours, cross_entropy(network(3)(mixed_x), mixed_y).mean())
    torch.testing.assert_close(model.eval()(x), network(3)(x))


@pytest.mark.parametrize(
    "method", [ShakeDrop(Identity()), StochasticDepth(Identity()), DropPath(Identity(), 0.5)]
)
def test_over_several_steps_gradients_reach_every_parameter(method: Method) -> None:
    (x, y), rng = pictures(), Rng.seeded(0)
    model = method.prepare(resnet())
    for _ in range(6):
        for term in method(model, x, y, rng):
            term.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("method", [ShakeDrop, StochasticDepth, DropPath])
@pytest.mark.parametrize("survival", [0.0, 1.5])
def test_survival_is_a_probability(method: type, survival: float) -> None:
    with pytest.raises(ValueError, match=says("^survival ... 0 ... 1")):
        method(Identity(), survival=survival)


def test_shakedrops_ranges_are_checked() -> None:
    with pytest.raises(ValueError, match=says("^beta ... [low, high] ... [1, 0]")):
        ShakeDrop(Identity(), beta=[1, 0])
    with pytest.raises(ValueError, match=says("^alpha ... 0 ... [0, 1]")):
        ShakeDrop(Identity(), alpha=[0, 1])
