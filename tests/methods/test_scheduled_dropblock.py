"""DropBlock as its authors have it: where it acts, on how much, and when."""

from collections.abc import Callable
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
from vicinal.methods.scheduled_dropblock import ScheduledDropBlock, inner_holes
from vicinal.models.mlp import MLP
from vicinal.models.resnet import CifarResNet
from vicinal.models.timm import Timm
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup

METHOD = ScheduledDropBlock(Identity(), block_size=3, keep=0.6)
Drop = Callable[[Tensor], Tensor]


def batch(size: int, count: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, 3, size, size, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.arange(count) % 4, 4).double()


def small() -> CifarResNet:
    torch.manual_seed(0)
    return CifarResNet(14, num_classes=4, shape=(3, 16, 16)).double()


def of_timm(name: str = "resnet26d") -> Timm:
    torch.manual_seed(0)
    return Timm(name, num_classes=4, shape=(3, 32, 32)).double()


def literally(share: float, block: int, rng: Rng) -> Drop:
    """The drop of Alg. 1 with blocks that lie within the map, which they are no larger than."""

    def drop(h: Tensor) -> Tensor:
        size = h.shape[2]
        side = min(block, size)
        rate = share * size**2 / side**2 / (size - side + 1) ** 2
        places = (*h.shape[:2], size - side + 1, size - side + 1)
        corners = torch.rand(places, generator=rng.device) < rate
        mask = oracle.whole_blocks(corners, side, size)
        return h * mask * mask.numel() / mask.sum()

    return drop


def basic(block: nn.Module, x: Tensor, drop: Drop) -> Tensor:
    """One of ours, of two convolutions."""
    inner = drop(block.relu1(block.bn1(block.conv1(x))))
    branch = drop(block.bn2(block.conv2(inner)))
    return block.relu2(drop(block.shortcut(x)) + branch)


def bottleneck(block: nn.Module, x: Tensor, drop: Drop) -> Tensor:
    """One of timm's, as `bottleneck_block` of the authors' code."""
    inner = drop(block.bn1(block.conv1(x)).clamp_min(0))
    inner = drop(block.bn2(block.conv2(inner)).clamp_min(0))
    branch = drop(block.bn3(block.conv3(inner)))
    shortcut = x if isinstance(block.downsample, nn.Identity) else block.downsample(x)
    return (branch + drop(shortcut)).clamp_min(0)


@pytest.mark.parametrize("seed", range(2))
def test_it_drops_after_every_convolution_and_on_shortcuts_of_the_last_two_groups(
    seed: int,
) -> None:
    model, (x, y) = METHOD.prepare(small()), batch(16)
    (ours,) = METHOD(model, x, y, Rng.seeded(seed), progress=0.5)
    twin, rng = small(), Rng.seeded(seed)
    h = twin.stage1(twin.stem(x))
    for stage, share in ((twin.stage2, 0.4 * 0.5 / 4), (twin.stage3, 0.4 * 0.5)):
        for block in stage:
            h = basic(block, h, literally(share, 3, rng))
    expected = cross_entropy(twin.fc(h.mean((2, 3))), y).mean()
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_it_equals_the_authors_bottlenecks_in_a_resnet_d_of_timm() -> None:
    method = replace(METHOD, block_size=7)
    model, (x, y) = method.prepare(of_timm()), batch(64)
    (ours,) = method(model, x, y, Rng.seeded(0), progress=0.75)
    twin, rng = of_timm().network, Rng.seeded(0)
    h = twin.maxpool(twin.act1(twin.bn1(twin.conv1(x))))
    h = twin.layer2(twin.layer1(h))
    for stage, share in ((twin.layer3, 0.4 * 0.75 / 4), (twin.layer4, 0.4 * 0.75)):
        for block in stage:
            h = bottleneck(_with_identity(block), h, literally(share, 7, rng))
    expected = cross_entropy(twin.fc(h.mean((2, 3))), y).mean()
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def _with_identity(block: nn.Module) -> nn.Module:
    if block.downsample is None:
        block.downsample = nn.Identity()
    return block


def test_without_shortcuts_only_branches_are_dropped_from() -> None:
    method = replace(METHOD, shortcuts=False, groups=1, block_size=1)
    model, (x, y) = method.prepare(small()), batch(16)
    (ours,) = method(model, x, y, Rng.seeded(0), progress=1.0)
    twin, rng = small(), Rng.seeded(0)
    h = twin.stage2(twin.stage1(twin.stem(x)))
    for block in twin.stage3:
        drop = literally(0.4, 1, rng)
        inner = drop(block.relu1(block.bn1(block.conv1(h))))
        h = block.relu2(drop(block.bn2(block.conv2(inner))) + block.shortcut(h))
    expected = cross_entropy(twin.fc(h.mean((2, 3))), y).mean()
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_nothing_is_dropped_at_first_and_everything_at_once_without_a_schedule() -> None:
    x, y = batch(16)
    at_first, fixed = METHOD, replace(METHOD, scheduled=False)
    (first,) = at_first(small(), x, y, Rng.seeded(0), progress=0.0)
    assert torch.equal(first, cross_entropy(small()(x), y).mean())
    losses = [next(fixed(small(), x, y, Rng.seeded(0), progress=share)) for share in (0.0, 1.0)]
    last = next(METHOD(small(), x, y, Rng.seeded(0), progress=1.0))
    assert losses[0] == losses[1] == last
    assert not torch.equal(losses[0], first)


@pytest.mark.parametrize(("block", "share", "size"), [(7, 0.1, 14), (7, 0.1, 7), (2, 0.3, 9)])
def test_the_share_that_is_dropped_follows_from_the_rule(
    block: int, share: float, size: int
) -> None:
    """Blocks lie within the map: P(hole) = 1 - (1 - γ)^(the blocks that reach the place)."""
    shape = (2, 100_000 // size**2, size, size)
    holes = inner_holes(share, block, shape, Rng.seeded(0))
    by_map = holes.double().mean((2, 3)).flatten()
    places = size - block + 1
    rate = share * size**2 / block**2 / places**2
    near = [min(i, places - 1) - max(i - block + 1, 0) + 1 for i in range(size)]
    expected = sum(1 - (1 - rate) ** (r * s) for r in near for s in near) / size**2
    assert abs(by_map.mean() - expected) < 4 * by_map.std() / sqrt(len(by_map))
    masks = holes.flatten(2).flatten(0, 1)
    assert len(masks.unique(dim=0)) > 1  # each image and channel has its own
    if block == size:
        assert set(by_map.unique().tolist()) == {0.0, 1.0}


def test_a_block_is_no_larger_than_the_map_and_none_is_cut() -> None:
    holes = inner_holes(0.5, 7, (1, 50, 2, 5), Rng.seeded(0))
    for channel in holes[0]:
        columns = channel.all(0)
        assert torch.equal(channel.any(0), columns)  # 2 x 2 blocks fill both rows
        assert columns.sum() != 1


def test_dropping_nothing_is_empirical_risk_over_the_vicinity() -> None:
    x, y = batch(16)
    mixed, targets = Mixup()(x, y, Rng.seeded(1))
    method = ScheduledDropBlock(Mixup(), keep=1.0)
    (ours,) = method(small(), x, y, Rng.seeded(1), progress=1.0)
    assert torch.equal(ours, cross_entropy(small()(mixed), targets).mean())


def test_preparing_and_training_leave_the_network_what_it_was() -> None:
    for build in (small, lambda: of_timm("resnet10t")):
        model, twin, x = METHOD.prepare(build()), build(), batch(32)[0]
        list(METHOD(model, *batch(32), Rng.seeded(0), progress=1.0))
        assert list(model.state_dict()) == list(twin.state_dict())
        twin.load_state_dict(model.state_dict())
        assert torch.equal(model.eval()(x), twin.eval()(x))


def test_values_out_of_range_and_networks_without_blocks_are_named() -> None:
    for key, value in [("block_size", 0), ("keep", 0.0), ("keep", 1.1), ("groups", 0)]:
        with pytest.raises(ValueError, match=says(f"^{key} ... {value}")):
            replace(METHOD, **{key: value})
    with pytest.raises(ValueError, match=says("^method.groups ... 2 ... 0")):
        METHOD.prepare(MLP(4, 2, num_classes=4, shape=(3, 8, 8)))
    with pytest.raises(ValueError, match=says("^method.groups ... 4 ... 3")):
        replace(METHOD, groups=4).prepare(small())
