"""mixup of each sample with one of its nearest neighbours in the training set.

The mean of CE(f(x'), y') with x' = λ x_i + (1 - λ) x_j, y' = λ y_i + (1 - λ) y_j and j uniform
among the neighbours of i: Euclidean in pixels before augmentation, without i itself.

Paper:    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; §3.8, Table 5: AC + KNN (`among: all`),
          SC + KNN (`among: class`); after Chawla et al., SMOTE, 2002
Code:     none released
Differs:  the paper is silent, so these are our choices: the metric, that the neighbour is augmented
          on its own, α = 1, one λ per batch. In a class of no more than `neighbours` samples all
          others are neighbours. "Mix inputs only" is `vicinity@method.vicinity=larger_label`, which
          acts on the mixed pairs.
Cost:     1 forward, 1 backward, 1 update of BatchNorm; the neighbours, once: n² d multiplications
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.contracts import (
    InMemory,
    Inputs,
    Loss,
    Method,
    Rows,
    Targets,
    TrainingData,
    Vicinity,
    Wants,
)
from vicinal.data.batches import as_inputs
from vicinal.draws import Rng, beta
from vicinal.losses import cross_entropy

CHUNK = 1000  # samples whose distances to all others are in memory at once


@dataclass(frozen=True)
class KnnMixup(Method):
    """`vicinity` acts on the mixed pairs; `attach` returns the method that knows the neighbours."""

    wants: ClassVar[Wants] = ("rows",)

    vicinity: Vicinity
    alpha: float = 1.0
    neighbours: int = 200
    among: Literal["all", "class"] = "all"

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise ValueError(f"alpha must be above 0, got {self.alpha} (λ is Beta(alpha, alpha))")
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {self.neighbours}")

    def attach(self, data: TrainingData) -> "_WithNeighbours":
        if not isinstance(data.train, InMemory):
            raise ValueError(
                "method needs all training samples in memory, but this data set is streamed"
            )
        classes = data.train.y if self.among == "class" else None
        nearest = nearest_neighbours(data.train.x, self.neighbours, classes)
        return _WithNeighbours(self, data.train, nearest, data.augment)

    def __call__(
        self, model: nn.Module, x: Inputs, y: Targets, rng: Rng, *, rows: Rows | None = None
    ) -> Iterator[Loss]:
        raise ValueError("KnnMixup must be attached to its data: use what attach(data) returns")


@dataclass(frozen=True)
class _WithNeighbours(Method):
    """The method on its data: `nearest` are rows of `train`, `augment` is the data set's own."""

    wants: ClassVar[Wants] = ("rows",)

    method: KnnMixup
    train: InMemory
    nearest: Int64[Tensor, "n m"]
    augment: Vicinity

    def __call__(
        self, model: nn.Module, x: Inputs, y: Targets, rng: Rng, *, rows: Rows | None = None
    ) -> Iterator[Loss]:
        if rows is None:
            raise ValueError("KnnMixup must be called with the rows of the batch in its data")
        drawn = self.drawn(rows, y.shape[1], rng)
        others, their_y = self.augment(*drawn, rng)
        lam = beta(self.method.alpha, 1, rng).item()
        pair = torch.lerp(others, x, lam), torch.lerp(their_y.to(y), y, lam)
        x, y = self.method.vicinity(*pair, rng)
        yield cross_entropy(model(x), y).mean()

    def drawn(self, rows: Rows, num_classes: int, rng: Rng) -> tuple[Inputs, Targets]:
        """A neighbour of each sample, uniformly."""
        known = self.nearest[rows]
        uniform = torch.rand(len(known), generator=rng.cpu, dtype=torch.float64)
        number = (known >= 0).sum(dim=1)  # rows of small classes are padded with -1
        place = (uniform.to(known.device, non_blocking=True) * number).long()
        chosen = known.gather(1, place[:, None])[:, 0]
        return as_inputs(self.train.x[chosen]), F.one_hot(self.train.y[chosen], num_classes).float()


def nearest_neighbours(
    x: Shaped[Tensor, "n ..."], count: int, classes: Int64[Tensor, " n"] | None = None
) -> Int64[Tensor, "n m"]:
    """The rows of the `count` samples nearest to each, in its own class if `classes` are given.

    Nearest first, without the sample itself, and padded with -1.
    """
    count = min(count, len(x) - 1)
    groups = [torch.arange(len(x), device=x.device)]
    if classes is not None:
        groups = [torch.nonzero(classes == label)[:, 0] for label in classes.unique()]
    nearest = torch.full((len(x), count), -1, device=x.device)
    with _full_precision():
        for rows in groups:
            found = _nearest_among(x[rows].flatten(1).float(), min(count, len(rows) - 1))
            nearest[rows, : found.shape[1]] = rows[found]
    return nearest


@contextmanager
def _full_precision() -> Iterator[None]:
    """Not in TF32, in which the run may train: its ten bits would rank neighbours wrongly."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _nearest_among(points: Tensor, count: int) -> Int64[Tensor, "n m"]:
    # |a - b|² minus |a|², which is the same for all b.
    squares = points.square().sum(dim=1)
    found = []
    for start in range(0, len(points), CHUNK):
        chunk = points[start : start + CHUNK]
        distances = torch.addmm(squares, chunk, points.T, alpha=-2)
        distances.diagonal(start).fill_(torch.inf)
        found.append(distances.topk(count, largest=False).indices)
    return torch.cat(found)
