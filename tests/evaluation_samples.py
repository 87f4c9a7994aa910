"""What evaluations are tried on: images, a network with a history, and shifted sets of its own."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from two_ranks import on_two

from vicinal.data.dataset import Data
from vicinal.data.split import Part, Split
from vicinal.draws import Rng
from vicinal.evaluation.evaluation import Numbers
from vicinal.models.normalized import Normalized
from vicinal.models.wide_resnet import WideResNet
from vicinal.surgery.dubin import with_norm


def data(count: int = 50, size: int = 8) -> Data:
    """uint8 images of four classes, the same ones to train on and to test on."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(1, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)
    split = Split(x, torch.randint(4, (count,), generator=generator))
    return Data(split, split, None, 4, (0.5,) * 3, (0.2,) * 3, {}, None)


def network(depth: int = 10) -> nn.Module:
    """A network with DuBIN in train mode, one stage of it frozen; its statistics were updated."""
    torch.manual_seed(0)
    body = WideResNet(depth, 1, num_classes=4, shape=(3, 8, 8))
    model = with_norm(Normalized(body, (0.5,) * 3, (0.2,) * 3), "dubin")
    generator = torch.Generator().manual_seed(1)
    for name, values in model.named_buffers():
        if "running" in name:
            values.uniform_(0.5, 1.5, generator=generator)
    model.train()
    model.get_submodule("body.stage2").eval()
    return model


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Modes, weights, statistics, gradients and hooks are afterwards as they were before."""

    def state() -> dict[str, object]:
        return {
            "modes": [module.training for module in model.modules()],
            "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
            "differentiated": [p.requires_grad for p in model.parameters()],
            "gradients": [p.grad for p in model.parameters()],
        }

    before, weights = state(), copy.deepcopy(model.state_dict())
    try:
        yield
    finally:
        assert state() == before
        for key, value in model.state_dict().items():
            assert torch.equal(value, weights[key]), key


@dataclass(frozen=True)
class Noisy:
    """Shifted sets: the test images, each pixel replaced at random with its set's probability."""

    levels: tuple[float, ...] = (0.0, 0.5, 1.0)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"noise{level}" for level in self.levels)

    def load(self, name: str, test: Part, rng: Rng) -> Split:
        assert isinstance(test, Split)
        kept = torch.rand(test.x.shape, generator=rng.cpu) >= float(name.removeprefix("noise"))
        other = torch.randint(0, 256, test.x.shape, generator=rng.cpu, dtype=torch.uint8)
        return Split(torch.where(kept, test.x, other), test.y)


class Linear(nn.Module):
    """softmax(W x + b) in float64, whose gradients are known."""

    stages = ("layer",)

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(features, classes).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.double().flatten(1))


def resumed(known: Sequence[str], measured: list[str]) -> Callable[..., dict[str, Numbers]]:
    """Parts of which some were measured by an earlier attempt, whose numbers it kept."""
    kept: dict[str, Numbers] = {}

    def parts(names: Sequence[str], measure: Callable[[str], Numbers]) -> dict[str, Numbers]:
        for name in names:
            if name in known and name not in kept:
                kept[name] = measure(name)
        measured.extend(name for name in names if name not in kept)
        return {name: kept[name] if name in kept else measure(name) for name in names}

    return parts


def same_on_ranks(measure: Callable[[], Numbers], folder: Path) -> None:
    """Two and three ranks find, to the last bit, what one process does."""
    alone = measure()
    assert alone
    for world in (2, 3):
        assert on_two(measure, folder, world) == [alone] * world
