"""Dropout inside residual blocks: where it acts, on how much, and that it composes."""

from contextlib import ExitStack
from math import sqrt

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.methods.dropout import Dropout
from vicinal.models.mlp import MLP
from vicinal.models.preact_resnet import PreActResNet
from vicinal.models.wide_resnet import WideResNet
from vicinal.surgery.taps import tap_input
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup


def network(width: int = 1) -> WideResNet:
    torch.manual_seed(0)
    return WideResNet(10, width, num_classes=4, shape=(3, 8, 8)).double()


def batch(count: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, 3, 8, 8, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.arange(count) % 4, 4).double()


class Literal(nn.Module):
    """A block's ReLU before conv2, with a dropout written out: loops over every entry."""

    def __init__(self, p: float, rng: Rng) -> None:
        super().__init__()
        self.p, self.rng = p, rng

    def forward(self, h: Tensor) -> Tensor:
        h = h.clamp_min(0)
        uniform = torch.rand(h.shape, generator=self.rng.device)
        factors = [1 / (1 - self.p) if u >= self.p else 0.0 for u in uniform.flatten().tolist()]
        return h * torch.tensor(factors, dtype=h.dtype).view(h.shape)


@pytest.mark.parametrize("p", [0.3, 0.7])
def test_dropout_is_a_layer_after_the_relu_between_the_convolutions(p: float) -> None:
    x, y = batch()
    (ours,) = Dropout(Identity(), p=p)(network(), x, y, Rng.seeded(2))
    twin, rng = network(), Rng.seeded(2)
    for stage in (twin.stage1, twin.stage2, twin.stage3):
        stage[0].relu2 = Literal(p, rng)
    torch.testing.assert_close(ours, cross_entropy(twin(x), y).mean(), rtol=1e-12, atol=1e-12)


def test_a_share_p_of_the_entries_is_dropped_anew_in_every_block() -> None:
    torch.manual_seed(0)
    model, (x, y) = PreActResNet(18, num_classes=4, shape=(3, 8, 8)).double(), batch(8)
    seen: list[Tensor] = []
    places = [f"stage{i}.{j}.conv2" for i in (1, 2, 3, 4) for j in (0, 1)]
    with ExitStack() as stack:
        for place in places:
            stack.enter_context(tap_input(model, place, torch.ones_like))
            handle = model.get_submodule(place).register_forward_hook(
                lambda _module, args, _output: seen.append(args[0])
            )
            stack.callback(handle.remove)
        list(Dropout(Identity(), p=0.3)(model, x, y, Rng.seeded(0)))
    assert len(seen) == 8
    for h in seen:
        assert set(h.unique().tolist()) == {0.0, 1 / 0.7}
        assert abs((h == 0).double().mean() - 0.3) < 4 * sqrt(0.3 * 0.7 / h.numel())
    assert not torch.equal(seen[0], seen[1])


def test_dropping_nothing_is_empirical_risk_over_the_vicinity() -> None:
    x, y = batch()
    mixed, targets = Mixup()(x, y, Rng.seeded(1))
    (ours,) = Dropout(Mixup(), p=0.0)(network(), x, y, Rng.seeded(1))
    assert torch.equal(ours, cross_entropy(network()(mixed), targets).mean())


def test_evaluation_drops_nothing() -> None:
    model, (x, y) = network(), batch()
    list(Dropout(Identity(), p=0.9)(model, x, y, Rng.seeded(0)))
    assert torch.equal(model.eval()(x), model(x))


def test_networks_without_residual_blocks_are_refused() -> None:
    mlp = MLP(4, 2, num_classes=4, shape=(3, 8, 8))
    with pytest.raises(ValueError, match=says("^model ... conv1 ... conv2 ... MLP")):
        Dropout(Identity()).prepare(mlp)
    for p in (-0.1, 1.0):
        with pytest.raises(ValueError, match=says(f"^p ... 0 ... 1 ... {p}")):
            Dropout(Identity(), p=p)
