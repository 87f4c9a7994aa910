"""mixup with nearest neighbours: who they are, and what becomes of the pair."""

from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import features as oracle
from oracles import vicinities as vicinity_oracle
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from wording import says

from vicinal.contracts import Inputs, Targets, Vicinity
from vicinal.data.dataset import Data
from vicinal.data.digits import digits
from vicinal.data.split import Split
from vicinal.draws import Rng, beta
from vicinal.losses import cross_entropy
from vicinal.methods import knn_mixup
from vicinal.methods.knn_mixup import KnnMixup, nearest_neighbours
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.larger_label import LargerLabel


def data(count: int = 1437) -> Data:
    train, test = digits(Path())
    rows = torch.arange(count)
    return Data(train[rows], test, None, 10, (0.5,) * 3, (0.5,) * 3, {}, None)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(192, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


def inputs(split: Split, rows: Tensor) -> tuple[Tensor, Tensor]:
    return split.x[rows] / 255, torch.eye(10)[split.y[rows]]


def test_distances_are_in_full_precision_also_where_a_run_is_not() -> None:
    products: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            if "mm" in str(func):
                products.append(torch.get_float32_matmul_precision())
            return func(*args, **kwargs or {})

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with Watch():
            nearest_neighbours(torch.rand(9, 5), 3)
        with pytest.raises(RuntimeError):
            nearest_neighbours(torch.empty(0, 5), 3)
        after = torch.get_float32_matmul_precision()
    finally:
        torch.set_float32_matmul_precision(before)
    assert set(products) == {"highest"}
    assert after == "high"


@pytest.mark.parametrize("among", ["all", "class"])
def test_neighbours_are_the_nearest_by_pixels_without_oneself(
    among: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knn_mixup, "CHUNK", 37)  # does not divide the number of samples
    train = data(300).train
    method = KnnMixup(Identity(), neighbours=12, among=among).attach(data(300))
    points = train.x.flatten(1).double().tolist()
    labels = train.y.tolist()
    for i in range(0, 300, 29):
        rows = method.nearest[i].tolist()
        assert i not in rows
        assert len(set(rows)) == 12
        others = [j for j in range(300) if among == "all" or labels[j] == labels[i]]
        assert set(rows) <= set(others)
        ours = [sum((a - b) ** 2 for a, b in zip(points[i], points[j], strict=True)) for j in rows]
        assert ours == oracle.nearest(points, i, 12, others)


def test_all_of_digits_have_200_neighbours_and_small_classes_have_all_they_can() -> None:
    everything = data()
    nearest = nearest_neighbours(everything.train.x, 200)
    assert nearest.shape == (1437, 200)
    assert not (nearest == torch.arange(1437)[:, None]).any()
    of_class = nearest_neighbours(everything.train.x, 200, everything.train.y)
    sizes = torch.bincount(everything.train.y)[everything.train.y]
    assert torch.equal((of_class >= 0).sum(1), sizes - 1)
    same = everything.train.y[of_class] == everything.train.y[:, None]
    assert same[of_class >= 0].all()


def test_identical_images_are_each_others_neighbours() -> None:
    x = torch.tensor([[0.0], [5.0], [0.0], [9.0]])
    assert nearest_neighbours(x, 1).flatten().tolist() == [2, 3, 0, 1]


@dataclass(frozen=True)
class Brighter(Vicinity):
    def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
        return x + 0.25, y


@pytest.mark.parametrize("seed", range(3))
def test_the_pair_is_mixed_as_mixup_does_after_the_neighbour_is_augmented(seed: int) -> None:
    known, model = replace(data(200), augment=Brighter()), Small()
    method = KnnMixup(Identity(), alpha=0.7, neighbours=5).attach(known)
    rows = torch.tensor([3, 150, 8, 99])
    x, y = inputs(known.train, rows)
    rng = Rng.seeded(seed)
    places = (torch.rand(4, generator=rng.cpu, dtype=torch.float64) * 5).long().tolist()
    lam = beta(0.7, 1, rng).item()
    drawn = [method.nearest[row, place].item() for row, place in zip(rows, places, strict=True)]
    others, labels = inputs(known.train, torch.tensor(drawn))
    both = torch.cat([x, others + 0.25]), torch.cat([y, labels])
    mixed, targets = vicinity_oracle.mixup(*both, [lam] * 8, [4, 5, 6, 7, 0, 1, 2, 3])
    (ours,) = method(model, x, y, Rng.seeded(seed), rows=rows)
    torch.testing.assert_close(ours, cross_entropy(model(mixed[:4]), targets[:4]).mean())


def test_neighbours_are_drawn_uniformly_also_where_there_are_few() -> None:
    known = data(60)
    method = KnnMixup(Identity(), neighbours=8, among="class").attach(known)
    numbers = (method.nearest >= 0).sum(1)
    assert 1 < numbers.min() < 8
    row = int(numbers.argmin())
    many = 4000
    rng = Rng.seeded(0)
    drawn, _ = method.drawn(torch.full((many,), row), 10, rng)
    candidates = known.train.x[method.nearest[row][: numbers[row]]] / 255
    counts = torch.stack([(drawn == each).flatten(1).all(1).sum() for each in candidates])
    share = 1 / numbers[row].item()
    assert counts.sum() == many
    assert ((counts / many - share).abs() < 4 * sqrt(share * (1 - share) / many)).all()


def test_inputs_only_is_the_larger_label_of_the_pair() -> None:
    known, model = data(200), Small()
    rows = torch.arange(20)
    x, y = inputs(known.train, rows)
    seen: list[Tensor] = []

    @dataclass(frozen=True)
    class Spy(Vicinity):
        def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
            seen.append(y)
            return x, y

    spied, larger_label = (
        KnnMixup(vicinity, neighbours=5).attach(known) for vicinity in (Spy(), LargerLabel())
    )
    for seed in range(6):
        list(spied(model, x, y, Rng.seeded(seed), rows=rows))
        (loss,) = larger_label(model, x, y, Rng.seeded(seed), rows=rows)
        assert loss.isfinite()
        larger, _ = LargerLabel()(x, seen[-1], Rng.seeded(0))[::-1]
        torch.testing.assert_close((larger * seen[-1]).sum(1), seen[-1].amax(1))


def test_what_is_missing_or_out_of_range_is_named() -> None:
    method = KnnMixup(Identity())
    with pytest.raises(ValueError, match=says("^KnnMixup ... attached")):
        list(method(Small(), torch.rand(2, 3, 8, 8), torch.eye(10)[:2], Rng.seeded(0)))
    with pytest.raises(ValueError, match=says("^neighbours ... 1 ... 0")):
        replace(method, neighbours=0)
    with pytest.raises(ValueError, match=says("^alpha ... 0 ... 0.0")):
        replace(method, alpha=0.0)
