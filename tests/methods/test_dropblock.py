"""DropBlock against its algorithm, and the share of the features that it keeps."""

from dataclasses import replace
from math import sqrt

import pytest
import torch
from oracles import features as oracle
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.methods.dropblock import DropBlock
from vicinal.models.wide_resnet import WideResNet
from vicinal.surgery.taps import tapped
from vicinal.vicinities.identity import Identity

METHOD = DropBlock(Identity(), block_size=3, keep=0.8)


class Small(nn.Module):
    stages = ("stem", "stage1")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh())
        self.stage1 = nn.Sequential(nn.Conv2d(4, 5, 3, 2, padding=1), nn.Tanh())
        self.fc = nn.Linear(5, 4)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stage1(self.stem(x)).mean((2, 3)))


def batch(count: int = 4, size: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, 3, size, size, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.arange(count) % 4, 4).double()


@pytest.mark.parametrize("seed", range(3))
def test_dropblock_equals_algorithm_1_at_every_layer(seed: int) -> None:
    model, (x, y) = Small(), batch()
    rng = Rng.seeded(seed)
    h = model.stem(x).detach()
    seeds = torch.rand(h.shape, generator=rng.device) < oracle.adjusted(0.2, 3, 8)
    h = model.stage1(oracle.dropped(h, oracle.mask_of(seeds, 3))).detach()
    seeds = torch.rand(h.shape, generator=rng.device) < oracle.adjusted(0.2, 3, 4)
    h = oracle.dropped(h, oracle.mask_of(seeds, 3))
    expected = cross_entropy(model.fc(h.mean((2, 3))), y).mean()
    (ours,) = METHOD(model, x, y, Rng.seeded(seed))
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def kept(method: DropBlock, layer: int, count: int, size: int) -> Tensor:
    """The factors that features of ones are left with."""
    seen: list[Tensor] = []
    model, (x, y) = Small(), batch(count, size)
    with tapped(model, layer, torch.ones_like):
        (loss,) = replace(method, layers=[layer])(Spied(model, layer, seen), x, y, Rng.seeded(0))
    assert loss.isfinite()
    return seen[0]


class Spied(nn.Module):
    """A network whose layer is read after everything else has acted on it."""

    def __init__(self, model: nn.Module, layer: int, seen: list[Tensor]) -> None:
        super().__init__()
        self.model, self.layer, self.seen = model, layer, seen
        self.stages = tuple(f"model.{stage}" for stage in model.stages)

    def forward(self, x: Tensor) -> Tensor:
        with tapped(self, self.layer, self.note):
            return self.model(x)

    def note(self, h: Tensor) -> Tensor:
        self.seen.append(h)
        return h


@pytest.mark.parametrize(("block", "keep", "size"), [(7, 0.9, 32), (7, 0.9, 16), (3, 0.7, 9)])
def test_the_share_that_is_kept_follows_from_the_rule(block: int, keep: float, size: int) -> None:
    method = replace(METHOD, block_size=block, keep=keep)
    factors = kept(method, 1, 400_000 // (4 * size**2), size)
    by_map = (factors > 0).double().mean((2, 3)).flatten()  # maps are independent, places are not
    expected = 1 - oracle.altered_share(1 - keep, block, size)
    assert abs(by_map.mean() - expected) < 3 * by_map.std() / sqrt(len(by_map))
    # Rescaled, features of ones have mean one, and all that are kept have one value.
    assert factors.mean().item() == pytest.approx(1)
    assert len(factors[factors > 0].unique()) == 1


def test_every_sample_and_channel_has_its_own_mask() -> None:
    factors = kept(METHOD, 1, 6, 8)
    masks = (factors > 0).flatten(2).flatten(0, 1).double()
    assert len(masks.unique(dim=0)) == len(masks)


def test_keeping_everything_is_empirical_risk() -> None:
    model, (x, y) = Small(), batch()
    (ours,) = replace(METHOD, keep=1.0)(model, x, y, Rng.seeded(0))
    assert torch.equal(ours, cross_entropy(model(x), y).mean())


def test_evaluation_drops_nothing() -> None:
    torch.manual_seed(0)
    model = WideResNet(10, 1, num_classes=4, shape=(3, 8, 8))
    list(METHOD(model, *(part.float() for part in batch()), Rng.seeded(0)))
    x = batch()[0].float()
    assert torch.equal(model.eval()(x), model(x))


def test_values_out_of_range_are_named() -> None:
    for key, value in [("block_size", 2), ("keep", 0.0), ("keep", 1.1), ("layers", [0, 1])]:
        with pytest.raises(ValueError, match=says(f"^{key} ... {value}")):
            replace(METHOD, **{key: value})
    with pytest.raises(ValueError, match=says("^method.block_size ... 5 ... 4 x 4")):
        list(replace(METHOD, block_size=5)(Small(), *batch(), Rng.seeded(0)))
