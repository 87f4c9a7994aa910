"""MaxUp against Eq. 2-3 of its paper, and what its selection pass must leave alone."""

import copy
import gc
from dataclasses import dataclass
from math import sqrt

import pytest
import torch
from oracles.maxup import worst_copies, worst_of_all
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.contracts import Inputs, Targets, Vicinity
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.methods.erm import Erm
from vicinal.methods.maxup import MaxUp
from vicinal.vicinities.cutmix import CutMix
from vicinal.vicinities.cutout import Cutout
from vicinal.vicinities.gaussian_noise import GaussianNoise
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup

VICINITIES = [CutMix(), Cutout(length=3), Mixup(), GaussianNoise(sigma=0.3)]


def network(*, norm: bool = True, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8) if norm else nn.Identity(), nn.ReLU()]
    head = [nn.Dropout(dropout), nn.Flatten(), nn.Linear(8 * 4 * 4, 5)]
    return nn.Sequential(*layers, *head).double()


def batch(count: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, 3, 6, 6, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.randint(5, (count,), generator=generator), 5).double()


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("vicinity", VICINITIES, ids=repr)
@pytest.mark.parametrize("seed", range(3))
def test_maxup_equals_equation_2(vicinity: Vicinity, seed: int) -> None:
    x, y = batch()
    model = network(norm=False)
    rng = Rng.seeded(seed)
    copies = [vicinity(x, y, rng) for _ in range(4)]
    worst = worst_copies(lambda x: model(x).detach(), copies)
    chosen_x = torch.stack([copies[j][0][i] for i, j in enumerate(worst)])
    chosen_y = torch.stack([copies[j][1][i] for i, j in enumerate(worst)])
    expected = cross_entropy(model(chosen_x), chosen_y).mean()
    (ours,) = MaxUp(vicinity, copies=4)(model, x, y, Rng.seeded(seed))
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    # Eq. 3: the gradient is that of the selected batch alone.
    torch.testing.assert_close(gradients(model, ours), gradients(model, expected))


@pytest.mark.parametrize("vicinity", VICINITIES, ids=repr)
def test_with_batchnorm_each_copy_is_selected_as_its_own_batch(vicinity: Vicinity) -> None:
    x, y = batch()
    model, twin = network(), network()
    rng = Rng.seeded(0)
    copies = [vicinity(x, y, rng) for _ in range(3)]
    worst = worst_copies(lambda x: copy.deepcopy(twin)(x).detach(), copies)
    chosen_x = torch.stack([copies[j][0][i] for i, j in enumerate(worst)])
    chosen_y = torch.stack([copies[j][1][i] for i, j in enumerate(worst)])
    expected = cross_entropy(twin(chosen_x), chosen_y).mean()
    (ours,) = MaxUp(vicinity, copies=3)(model, x, y, Rng.seeded(0))
    assert torch.equal(ours, expected)
    for ours_buffer, expected_buffer in zip(model.buffers(), twin.buffers(), strict=True):
        assert torch.equal(ours_buffer, expected_buffer)


@pytest.mark.parametrize("vicinity", VICINITIES, ids=repr)
def test_one_copy_is_erm_step_for_step(vicinity: Vicinity) -> None:
    x, y = batch()
    finals = []
    for method in (MaxUp(vicinity, copies=1), Erm(vicinity)):
        model, rng = network(dropout=0.3), Rng.seeded(0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(5):
            optimizer.zero_grad()
            for term in method(model, x, y, rng):
                term.backward()
            optimizer.step()
        finals.append(model.state_dict())
    for key, value in finals[0].items():
        assert torch.equal(value, finals[1][key])


@pytest.mark.parametrize("selection", ["train", "eval"])
def test_selection_leaves_statistics_modes_and_gradients_alone(selection: str) -> None:
    x, y = batch()
    model = network(dropout=0.5)
    model[3].eval()  # a mode of its own must survive
    before = {name: value.clone() for name, value in model.named_buffers()}
    method = MaxUp(CutMix(), copies=3, selection=selection)
    method._worst(model, x, y, Rng.seeded(0))
    for name, value in model.named_buffers():
        assert torch.equal(value, before[name])
    assert [m.training for m in model] == [True, True, True, False, True, True]
    assert all(m.track_running_stats for m in model if isinstance(m, nn.BatchNorm2d))
    assert all(p.grad is None for p in model.parameters())


def test_statistics_are_restored_when_the_network_fails() -> None:
    x, y = batch()
    model = network()
    with pytest.raises(RuntimeError):
        list(MaxUp(Mixup(), copies=2)(model, x[:, :, :2, :2], y, Rng.seeded(0)))
    assert model[1].track_running_stats


def test_the_selected_loss_is_the_trained_loss_under_dropout() -> None:
    x, y = batch()
    model = network(norm=False, dropout=0.5)
    vicinity = GaussianNoise(sigma=0.5)
    for seed in range(5):
        rng, losses = Rng.seeded(seed), []
        for copy_x, copy_y in [vicinity(x, y, rng) for _ in range(4)]:
            torch.manual_seed(seed)
            losses.append(cross_entropy(model(copy_x), copy_y).detach())
        torch.manual_seed(seed)
        (ours,) = MaxUp(vicinity, copies=4)(model, x, y, Rng.seeded(seed))
        torch.testing.assert_close(ours.detach(), torch.stack(losses).amax(dim=0).mean())


@dataclass(frozen=True)
class Overflowing(Vicinity):
    """Each sample of a copy is, with probability 1/3, so large that its logits hold NaN."""

    def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
        over = torch.rand((len(x), 1, 1, 1), generator=rng.cpu) < 1 / 3
        return torch.where(over, torch.inf, x + torch.rand((), generator=rng.cpu)), y


@pytest.mark.parametrize("vicinity", [*VICINITIES, Identity(), Overflowing()], ids=repr)
@pytest.mark.parametrize("copies", [2, 5])
@pytest.mark.parametrize("selection", ["train", "eval"])
def test_the_running_worst_is_that_of_all_copies_at_once_bit_for_bit(
    vicinity: Vicinity, copies: int, selection: str
) -> None:
    """Ties go to the first copy, and NaN, which stops a run, is worse than any number."""
    x, y = batch()
    model, twin = network(dropout=0.3), network(dropout=0.3)
    torch.manual_seed(2)
    rng = Rng.seeded(2)
    chosen = worst_of_all(twin, vicinity, copies, selection == "eval", x, y, rng)
    expected, generator = cross_entropy(twin(chosen[0]), chosen[1]).mean(), torch.get_rng_state()
    torch.manual_seed(2)
    own, seen = Rng.seeded(2), list[Tensor]()
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    (ours,) = MaxUp(vicinity, copies, selection)(model, x, y, own)  # pyright: ignore[reportArgumentType]
    assert torch.equal(seen[-1], chosen[0])
    assert torch.equal(ours.isnan(), expected.isnan())
    assert torch.equal(ours.nan_to_num(), expected.nan_to_num())
    assert ours.isnan() == isinstance(vicinity, Overflowing)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(own.state()[name], state) for name, state in rng.state().items())


def test_of_equal_copies_the_first_is_trained_on() -> None:
    x, y = batch()
    model = network(norm=False).requires_grad_(False)
    model[2] = nn.Threshold(1e9, 0.0)  # all logits, and so all losses, are equal
    first, _ = GaussianNoise()(x, y, Rng.seeded(0))
    seen = list[Tensor]()
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    list(MaxUp(GaussianNoise(), copies=3)(model, x, y, Rng.seeded(0)))
    assert torch.equal(seen[-1], first)


def live(shape: torch.Size) -> int:
    """How many batches of that shape the tensors of this process hold."""
    tensors = [each for each in gc.get_objects() if type(each) is Tensor]
    return sum(each.numel() // shape.numel() for each in tensors if each.shape[-4:] == shape)


def test_the_number_of_batches_in_memory_does_not_grow_with_m() -> None:
    x, y = batch(9)
    peaks = []
    for copies in (3, 30):
        model, held = network(), list[int]()
        model.register_forward_pre_hook(lambda _, given, held=held: held.append(live(x.shape)))
        list(MaxUp(GaussianNoise(), copies)(model, x, y, Rng.seeded(0)))
        assert len(held) == copies + 1
        peaks.append(max(held))
    assert peaks[0] == peaks[1] < 6


@dataclass(frozen=True)
class Marked(Vicinity):
    """Copies that differ: the draw's number is added to the input."""

    def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
        return x + torch.rand((), generator=rng.cpu), y


def test_the_max_is_over_copies_of_one_sample() -> None:
    # A sample's loss depends on its own sign, so the worst copy differs between samples; a
    # copy-major layout read as sample-major would compare different samples.
    x = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]], dtype=torch.float64)
    y = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]], dtype=torch.float64)
    model = nn.Linear(1, 2, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0], [0.0]]))
    rng = Rng.seeded(0)
    shifts = [torch.rand((), generator=rng.cpu).item() for _ in range(3)]
    (loss,) = MaxUp(Marked(), copies=3)(model, x, y, Rng.seeded(0))
    chosen = torch.tensor([[min(shifts)], [min(shifts)], [max(shifts)], [max(shifts)]])
    torch.testing.assert_close(loss, cross_entropy(model(x + chosen), y).mean())


class Linear(nn.Module):
    """Logits whose cross-entropy is linear in x for the first class, up to softplus's tail."""

    def __init__(self, g: Tensor) -> None:
        super().__init__()
        self.g = nn.Parameter(g)

    def forward(self, x: Tensor) -> Tensor:
        shift = x @ self.g + 40.0  # CE of class 0 is softplus(<g, x> + 40) = <g, x> + 40
        return torch.stack([torch.zeros_like(shift), shift], dim=1)


@pytest.mark.parametrize(("m", "c"), [(1, 0.0), (2, 0.564), (4, 1.029), (10, 1.539), (20, 1.867)])
def test_theorem_1_on_a_linear_loss(m: int, c: float) -> None:
    """E max_i <g, z_i> = c σ ‖g‖ for z_i ~ N(0, σ² I), with c = E max of m standard normals."""
    sigma, g = 0.5, torch.tensor([3.0, -4.0, 12.0], dtype=torch.float64)
    x, y = torch.zeros(40_000, 3, dtype=torch.float64), torch.tensor([[1.0, 0]]).double()
    method = MaxUp(GaussianNoise(sigma=sigma), copies=m)
    with torch.no_grad():
        (loss,) = method(Linear(g), x, y.expand(len(x), 2), Rng.seeded(0))
    expected = c * sigma * g.norm().item()
    assert abs(loss.item() - 40 - expected) < 5 * sigma * 13 / sqrt(len(x)) + 5e-4 * 13


def test_copies_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match=says("^copies ... 1 ... 0 ... m = 1")):
        MaxUp(Mixup(), copies=0)
