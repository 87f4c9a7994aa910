"""GradAug against Eq. 4 and 6 of its paper, and what its sub-networks must leave alone."""

import pytest
import torch
from oracles.gradaug import resized, sliced, step_loss
from oracles.networks import pre_activation
from residual_samples import FIXED, SCALE, batch, network, stepped
from wording import says

from vicinal.contracts import Vicinity
from vicinal.draws import Rng
from vicinal.losses import cross_entropy, kl_divergence
from vicinal.methods.erm import Erm
from vicinal.methods.gradaug import GradAug, rounded, widths
from vicinal.models.densenet import DenseNetBC
from vicinal.models.pyramidnet import PyramidNet
from vicinal.models.resnext import ResNeXt
from vicinal.models.timm import Timm
from vicinal.surgery.slimmable import narrowed
from vicinal.vicinities.cutmix import CutMix
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup
from vicinal.vicinities.scale_rotate import ScaleRotate


@pytest.mark.parametrize("vicinity", [Identity(), CutMix(), Mixup()], ids=repr)
@pytest.mark.parametrize("seed", range(2))
def test_gradaug_equals_equations_4_and_6(vicinity: Vicinity, seed: int) -> None:
    model, (x, y) = network(), batch()
    terms = stepped(GradAug(vicinity, SCALE, alpha=0.6), model, x, y, seed)
    # The same draws by hand: f's, then two widths, then a size for each of three passes.
    rng = Rng.seeded(seed)
    mixed_x, mixed_y = vicinity(x, y, rng)
    drawn = torch.rand(2, dtype=torch.float64, generator=rng.shared)
    ordered = sorted([0.6, *(0.6 + (1 - 0.6) * drawn).tolist()], reverse=True)
    sizes = [(8, 6, 4)[int(torch.randint(3, (), generator=rng.shared))] for _ in range(3)]
    weights = dict(network().named_parameters())
    expected = step_loss(
        lambda images, w: pre_activation(images, w, (1, 1, 1), True),
        weights,
        mixed_x,
        mixed_y,
        list(zip(ordered, sizes, strict=True)),
    )
    torch.testing.assert_close(torch.stack(terms).sum(), expected, rtol=1e-10, atol=1e-10)
    gradients = torch.autograd.grad(expected, list(weights.values()))
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-9)


def test_with_hard_labels_sub_networks_train_on_the_labels_of_the_batch() -> None:
    model, (x, y) = network(), batch()
    method = GradAug(Mixup(), FIXED, num_subnets=2, alpha=0.6, soft_labels=False)
    *_, smallest = stepped(method, model, x, y)
    mixed_x, mixed_y = Mixup()(x, y, Rng.seeded(0))
    weights = sliced(dict(network().named_parameters()), 0.6)
    logits = pre_activation(mixed_x, weights, (1, 1, 1), True)
    entropy = -torch.special.xlogy(mixed_y, mixed_y).sum(1)
    torch.testing.assert_close(smallest, (cross_entropy(logits, mixed_y) - entropy).mean())


def test_widths_are_alpha_and_uniform_draws() -> None:
    rng, drawn = Rng.seeded(0), []
    for _ in range(4000):
        first, second, last = widths(3, 0.8, smallest=True, rng=rng)
        assert last == 0.8 <= second <= first < 1
        drawn += [first, second]
    histogram = torch.histc(torch.tensor(drawn), bins=10, min=0.8, max=1.0)
    assert (histogram - 800).abs().max() < 4.5 * 800**0.5
    alone = [widths(1, 0.8, smallest=True, rng=rng)[0] for _ in range(4000)]
    assert abs(sum(alone) / 4000 - 0.9) < 4.5 * 0.2 / 12**0.5 / 4000**0.5
    free = [widths(3, 0.8, smallest=False, rng=rng) for _ in range(100)]
    assert all(a > b > c > 0.8 for a, b, c in free)
    assert widths(0, 0.8, smallest=True, rng=rng) == []
    assert widths(3, 1.0, smallest=True, rng=rng) == [1.0] * 3


def test_ranks_draw_the_same_widths_and_their_own_mixtures() -> None:
    first, second = (Rng.seeded(7, rank) for rank in range(2))
    assert widths(4, 0.5, True, first) == widths(4, 0.5, True, second)
    x, y = batch()
    assert not torch.equal(Mixup()(x, y, first)[0], Mixup()(x, y, second)[0])


@pytest.mark.parametrize("alpha", [0.6, 1.0])  # 1: Table 4's RandScale
def test_running_statistics_are_those_of_the_full_network_alone(alpha: float) -> None:
    model, twin, (x, y) = network(), network(), batch()
    stepped(GradAug(Identity(), SCALE, alpha=alpha), model, x, y)
    twin(x)
    for (name, ours), theirs in zip(model.named_buffers(), twin.buffers(), strict=True):
        assert torch.equal(ours, theirs), name


def test_randscale_is_the_full_width_on_every_size() -> None:
    model, (x, y) = network(), batch()
    terms = stepped(GradAug(Identity(), ScaleRotate([0.5]), alpha=1.0), model, x, y)
    weights = dict(network().named_parameters())
    q = pre_activation(x, weights, (1, 1, 1), True).detach().softmax(1)
    logits = pre_activation(resized(x, 4), weights, (1, 1, 1), True)
    for term in terms[1:]:
        torch.testing.assert_close(term, kl_divergence(logits, q).mean())


def test_without_sub_networks_it_is_erm() -> None:
    model, twin, (x, y) = network(), network(), batch()
    assert len(stepped(GradAug(CutMix(), SCALE, num_subnets=0), model, x, y)) == 1
    stepped(Erm(CutMix()), twin, x, y)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


def test_a_sub_network_pulls_on_nothing_outside_its_slice_nor_on_its_target() -> None:
    model, (x, y) = network(), batch()
    *_, term = GradAug(Identity(), FIXED, num_subnets=2, alpha=0.5)(model, x, y, Rng.seeded(0))
    model.zero_grad()
    term.backward()  # through the target it would reach every channel
    for name, parameter in model.named_parameters():
        if name != "fc.bias":
            kept = (parameter.shape[1] if name == "fc.weight" else len(parameter)) // 2
            rest = parameter.grad[:, kept:] if name == "fc.weight" else parameter.grad[kept:]
            assert not rest.any(), name


NETWORKS = {
    "pyramidnet": lambda: PyramidNet(20, 12, num_classes=4, shape=(3, 32, 32)),
    "resnext": lambda: ResNeXt(11, 4, 6, num_classes=4, shape=(3, 32, 32)),
    "timm resnet": lambda: timm("resnet18", layers=[1, 1, 1, 1], zero_init_last=False),
    "timm grouped": lambda: timm("resnext50_32x4d", layers=[1, 1, 1, 1], zero_init_last=False),
    "timm depthwise": lambda: timm("mobilenetv3_small_050"),
}


def timm(name: str, **options: object) -> Timm:
    return Timm(name, False, None, options, num_classes=4, shape=(3, 32, 32))


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    method, model = GradAug(CutMix(), ScaleRotate()), NETWORKS[name]().double()
    stepped(method, method.prepare(model), *batch(side=32))
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name


def test_widths_on_a_grid_are_the_papers_rounded() -> None:
    """Of the same draws, each to the nearest; a step that does not divide 1 - alpha ends at 1."""
    drawn = widths(500, 0.8, True, Rng.seeded(0))
    on_grid = [rounded(width, 0.8, 0.05) for width in drawn]
    assert len(set(on_grid)) == 5
    assert max(abs(a - b) for a, b in zip(drawn, on_grid, strict=True)) <= 0.025 + 1e-9
    odd = [rounded(w, 0.7, 0.2) for w in (0.7, 0.79, 0.81, 0.99, 1.0)]
    assert odd == pytest.approx([0.7, 0.7, 0.9, 0.9, 1.0])
    for step in (0.02, 0.2):
        GradAug(Identity(), SCALE, widths_step=step)
    model, (x, y) = network(), batch()
    whole = GradAug(Identity(), FIXED, num_subnets=1, alpha=0.5, smallest=False, widths_step=0.5)
    paper = GradAug(Identity(), FIXED, num_subnets=1, alpha=0.5, smallest=False)
    (drawn_width,) = widths(1, 0.5, False, Rng.seeded(0))
    half = [float(term.detach()) for term in whole(model, x, y, Rng.seeded(0))][1]
    theirs = [float(term.detach()) for term in paper(model, x, y, Rng.seeded(0))][1]
    with narrowed(model, rounded(drawn_width, 0.5, 0.5)), torch.no_grad():
        logits = model(x)
    expected = kl_divergence(logits, model(x).detach().softmax(dim=1)).mean().item()
    assert half == pytest.approx(expected, abs=1e-6)
    assert half != theirs


def test_networks_that_cannot_be_narrowed_are_refused() -> None:
    method = GradAug(Identity(), SCALE)
    with pytest.raises(ValueError, match=says("^model ... LayerNorm2d ... network.stem.1")):
        method.prepare(timm("convnext_atto"))
    dense = DenseNetBC(10, 4, num_classes=4, shape=(3, 8, 8))
    with pytest.raises(ValueError, match=says("^model ... DenseLayer ... stage1.0 ... cat")):
        method.prepare(dense)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_subnets": -1}, "num_subnets ... 0 ... -1"),
        ({"alpha": 0.0}, "alpha ... 0 ... 1 ... 0.0"),
        ({"alpha": 1.5}, "alpha ... 0 ... 1 ... 1.5"),
        ({"widths_step": 0.0}, "widths_step ... 1 - alpha ... 0.0"),
        ({"widths_step": 0.3}, "widths_step ... 1 - alpha ... 0.3 ... 0.8"),
        ({"widths_step": 0.01}, "widths_step ... (1 - alpha) / 10 ... 0.01"),
        ({"alpha": 1.0, "widths_step": 0.1}, "widths_step ... 1 - alpha ... 0.1 ... 1.0"),
    ],
)
def test_settings_are_checked(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=says(f"^{said}")):
        GradAug(Identity(), SCALE, **options)
