"""GradAug against Eq. 4 and 6 of its paper, and what its sub-networks must leave alone."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from oracles.gradaug import resized, sliced, step_loss
from oracles.networks import pre_activation
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.contracts import Method, Vicinity
from vicinal.draws import Rng
from vicinal.losses import cross_entropy, kl_divergence
from vicinal.methods.erm import Erm
from vicinal.methods.gradaug import GradAug, widths
from vicinal.methods.gradaug_semi import GradAugSemi
from vicinal.models.densenet import DenseNetBC
from vicinal.models.pyramidnet import PyramidNet
from vicinal.models.resnext import ResNeXt
from vicinal.models.timm import Timm
from vicinal.models.wide_resnet import WideResNet
from vicinal.vicinities.cutmix import CutMix
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup
from vicinal.vicinities.scale_rotate import ScaleRotate

SCALE = ScaleRotate([1.0, 0.75, 0.5])
FIXED = ScaleRotate([1.0])


def network(width: int = 1, side: int = 8) -> WideResNet:
    torch.manual_seed(0)
    return WideResNet(10, width, num_classes=4, shape=(3, side, side)).double()


def batch(count: int = 5, side: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, 3, side, side, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.arange(count) % 4, 4).double()


def stepped(method: Method, model: nn.Module, x: Tensor, y: Tensor, seed: int = 0) -> list[Tensor]:
    """The terms, each backpropagated as it arrives."""
    terms = []
    for term in method(model, x, y, Rng.seeded(seed)):
        term.backward()
        terms.append(term.detach())
    return terms


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


def test_hard_labels_train_sub_networks_on_the_batch_s_own() -> None:
    model, (x, y) = network(), batch()
    method = GradAug(Mixup(), FIXED, num_subnets=2, alpha=0.6, soft_labels=False)
    *_, smallest = stepped(method, model, x, y)
    mixed_x, mixed_y = Mixup()(x, y, Rng.seeded(0))
    weights = sliced(dict(network().named_parameters()), 0.6)
    logits = pre_activation(mixed_x, weights, (1, 1, 1), True)
    entropy = -torch.special.xlogy(mixed_y, mixed_y).sum(1)
    torch.testing.assert_close(smallest, (cross_entropy(logits, mixed_y) - entropy).mean())


def test_kl_and_the_soft_cross_entropy_have_one_gradient() -> None:
    z = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    q = torch.randn(6, 5, dtype=torch.float64).softmax(1)
    q[0] = torch.tensor([1.0, 0, 0, 0, 0])  # zeros are no trouble
    kl, ce = kl_divergence(z, q), cross_entropy(z, q)
    torch.testing.assert_close(ce - kl, -torch.special.xlogy(q, q).sum(1))
    torch.testing.assert_close(
        torch.autograd.grad(kl.sum(), z)[0], torch.autograd.grad(ce.sum(), z)[0]
    )
    torch.testing.assert_close(kl_divergence(q.log(), q)[1:], torch.zeros(5, dtype=q.dtype))


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


@pytest.fixture
def tuning() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True  # as on a GPU
    yield
    torch.backends.cudnn.benchmark = before


@pytest.mark.usefixtures("tuning")
@pytest.mark.parametrize("kind", [GradAug, GradAugSemi])
def test_cudnn_is_tuned_for_the_widths_that_come_again_alone(kind: type) -> None:
    """In forward and backward: of the full network, and of the smallest, but not of those drawn."""
    model, (x, y) = network(), batch()
    more = {"unlabelled": x} if kind is GradAugSemi else {}
    drawn = [0.6 < width < 1 for width in widths(3, 0.6, True, Rng.seeded(0))]
    assert drawn == [True, True, False]
    method = kind(Identity(), SCALE, alpha=0.6)
    model = method.prepare(model)
    tuned: list[tuple[bool, bool]] = []
    forwards: list[bool] = []
    model.register_forward_hook(lambda *_: forwards.append(torch.backends.cudnn.benchmark))
    for _ in method(model, x, y, Rng.seeded(0), **more):
        tuned.append((forwards[-1], torch.backends.cudnn.benchmark))  # here a loop goes backwards
    images = 2 if more else 1
    expected = [True] + [not new for new in drawn for _ in range(images)]
    assert tuned == [(each, each) for each in expected]
    assert torch.backends.cudnn.benchmark


@pytest.mark.usefixtures("tuning")
def test_tuning_is_restored_when_a_narrow_pass_fails_or_nobody_goes_on() -> None:
    model, (x, y) = network(), batch()
    terms = GradAug(Identity(), SCALE, alpha=0.6)(model, x, y, Rng.seeded(0))
    next(terms)
    next(terms)
    assert not torch.backends.cudnn.benchmark
    terms.close()
    assert torch.backends.cudnn.benchmark
    terms = GradAug(Identity(), SCALE, alpha=0.6)(model, x, y, Rng.seeded(0))
    next(terms)
    model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(terms)
    assert torch.backends.cudnn.benchmark


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
    ],
)
def test_settings_are_checked(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=says(f"^{said}")):
        GradAug(Identity(), SCALE, **options)


class Held:
    """Bytes that autograd holds for backward passes, and the most it has held."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}
        self.now = self.peak = 0

    @contextmanager
    def counted(self, model: nn.Module) -> Iterator[None]:
        own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        held = self

        class Saved:
            def __init__(self, tensor: Tensor) -> None:
                self.tensor, self.key = tensor, tensor.untyped_storage().data_ptr()
                if self.key not in own:
                    if held.storages.setdefault(self.key, 0) == 0:
                        held.now += tensor.untyped_storage().nbytes()
                        held.peak = max(held.peak, held.now)
                    held.storages[self.key] += 1

            def __del__(self) -> None:
                if self.key not in own:
                    held.storages[self.key] -= 1
                    if held.storages[self.key] == 0:
                        held.now -= self.tensor.untyped_storage().nbytes()

        with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
            yield


def test_one_networks_activations_are_held_at_a_time() -> None:
    """The paper's Table 2: 7145 MB to 6973. Here what autograd saves, exactly."""
    x, y = batch(8, side=16)
    peaks = {}
    for name, method in {"erm": Erm(Identity()), "ours": GradAug(Identity(), FIXED)}.items():
        model, held = network(2, side=16), Held()
        with held.counted(model):
            stepped(method, model, x, y)
        gc.collect()
        assert held.now == 0
        peaks[name] = held.peak
    assert peaks["ours"] <= 1.05 * peaks["erm"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_peak_memory_is_that_of_erm_on_a_gpu() -> None:
    x, y = (t.float().cuda() for t in batch(128, side=32))
    peaks = []
    for method in (Erm(Identity()), GradAug(Identity(), ScaleRotate())):
        model = WideResNet(16, 4, num_classes=4, shape=(3, 32, 32)).cuda()
        for _ in range(3):
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            model.zero_grad()
            for term in method(model, x, y, Rng.seeded(0, device="cuda")):
                term.backward()
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] <= 1.05 * peaks[0]
