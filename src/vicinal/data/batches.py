"""Batches of a split, on the training device."""

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from math import ceil
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Shaped
from torch import Generator, Tensor

from vicinal.contracts import Inputs, Rows, Targets, Vicinity
from vicinal.data.split import Part, Split
from vicinal.draws import Rng, derived_seed
from vicinal.machine import ranks

AnySplit = TypeVar("AnySplit", bound=Sized)


def as_inputs(x: Shaped[Tensor, "n ..."]) -> Inputs:
    """Images as floats in [0, 1]; other features as they are, from half precision as float32."""
    if x.dtype == torch.uint8:
        return x.float().div_(255)
    return x.float() if x.dtype == torch.float16 else x


class Extent(NamedTuple):
    """How large a step's batch is, over all ranks, and the factor on its learning rate."""

    rows: int
    samples: int  # that its loss is the mean of: images, or words
    rate: float = 1.0


@runtime_checkable
class Feed(Protocol):
    """What a run trains on: batches, which depend on the seed and the epoch alone."""

    @property
    def seed(self) -> int: ...

    @property
    def batch_size(self) -> int:
        """Rows of a full batch, over all ranks."""
        ...

    @property
    def unit(self) -> str:
        """What its samples are: images or words."""
        ...

    def steps(self, epoch: int) -> int:
        """How many steps an epoch takes."""
        ...

    def first(self, epoch: int) -> int:
        """How many steps all epochs before this one take."""
        ...

    def samples(self, epoch: int) -> int:
        """How many samples an epoch has."""
        ...

    def extent(self, epoch: int, number: int) -> Extent:
        """The extent of batch `number` of an epoch."""
        ...

    def epoch(self, epoch: int, first: int, rng: Rng) -> Iterator[tuple[Tensor, Any, Rows]]:
        """This rank's share of the batches of one epoch from number `first` on: x, y, rows."""
        ...

    @property
    def unlabelled(self) -> object | None:
        """Where `more` comes from, if there are unlabelled samples."""
        ...

    def more(self, count: int, rng: Rng) -> Inputs:
        """As many unlabelled samples."""
        ...

    def trial(self, count: int, rng: Rng) -> tuple[Tensor, Any, Rows]:
        """Random samples in place of a batch."""
        ...


class OfOneSize(Generic[AnySplit]):
    """The numbers of epochs in which each image of a split comes once, in batches of one size.

    The last batch may be smaller.
    """

    split: AnySplit
    batch_size: int

    @property
    def unit(self) -> str:
        return "images"

    def steps(self, epoch: int) -> int:
        return ceil(len(self.split) / self.batch_size)

    def first(self, epoch: int) -> int:
        return epoch * self.steps(epoch)

    def samples(self, epoch: int) -> int:
        return len(self.split)

    def extent(self, epoch: int, number: int) -> Extent:
        rows = min(self.batch_size, len(self.split) - number * self.batch_size)
        return Extent(rows, rows)


@dataclass(frozen=True)
class Batches(OfOneSize[Part]):
    """A split in a new order each epoch; every sample once, so the last batch may be smaller.

    The order is a function of (seed, epoch) alone, so that resuming needs no state. Each rank sees
    its shard of every batch.
    """

    split: Part
    num_classes: int
    batch_size: int
    augment: Vicinity
    seed: int
    unlabelled: Split | None = None

    def epoch(self, epoch: int, first: int, rng: Rng) -> Iterator[tuple[Inputs, Targets, Rows]]:
        """Inputs, one-hot targets, rows."""
        generator = Generator().manual_seed(derived_seed(self.seed, "order", epoch))
        order = torch.randperm(len(self.split), generator=generator)
        own = [ranks.shard(batch) for batch in order.split(self.batch_size)[first:]]
        one_hot = torch.eye(self.num_classes, device=self.split.y.device)
        for x, labels, rows in self.split.batches(own, (self.seed, epoch)):
            y = one_hot.index_select(0, labels)
            yield *self.augment(as_inputs(x), y, rng), rows

    def more(self, count: int, rng: Rng) -> Inputs:
        """Drawn with replacement and augmented like the others."""
        assert self.unlabelled is not None  # checked when the run builds its loop
        rows = torch.randint(len(self.unlabelled), (count,), generator=rng.cpu)
        x = as_inputs(self.unlabelled.x[rows.to(self.unlabelled.x.device, non_blocking=True)])
        no_targets = torch.zeros(count, self.num_classes, device=x.device)
        return self.augment(x, no_targets, rng)[0]

    def trial(self, count: int, rng: Rng) -> tuple[Inputs, Targets, Rows]:
        device = self.split.y.device
        rows = torch.arange(count, device=device)
        y = torch.eye(self.num_classes, device=device)[rows % self.num_classes]
        x = torch.rand(count, *self.split.shape, generator=rng.device, device=device)
        return *self.augment(x, y, rng), rows
