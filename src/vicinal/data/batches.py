"""Batches of a split, on the training device."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import torch
from jaxtyping import Shaped
from torch import Generator, Tensor

from vicinal.contracts import Inputs, Rows, Targets, Vicinity
from vicinal.data.split import Part, Split
from vicinal.draws import Rng, derived_seed
from vicinal.machine import ranks


def as_inputs(x: Shaped[Tensor, "n ..."]) -> Inputs:
    """Images as floats in [0, 1]; feature vectors as they are."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x


@dataclass(frozen=True)
class Batches:
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

    def __len__(self) -> int:
        return ceil(len(self.split) / self.batch_size)

    def size(self, number: int) -> int:
        """How many samples batch `number` of an epoch has, over all ranks."""
        return min(self.batch_size, len(self.split) - number * self.batch_size)

    def epoch(self, epoch: int, first: int, rng: Rng) -> Iterator[tuple[Inputs, Targets, Rows]]:
        """The batches of one epoch from number `first` on: inputs, one-hot targets, rows."""
        generator = Generator().manual_seed(derived_seed(self.seed, "order", epoch))
        order = torch.randperm(len(self.split), generator=generator)
        own = [ranks.shard(batch) for batch in order.split(self.batch_size)[first:]]
        one_hot = torch.eye(self.num_classes, device=self.split.y.device)
        for x, labels, rows in self.split.batches(own, (self.seed, epoch)):
            y = one_hot.index_select(0, labels)
            yield *self.augment(as_inputs(x), y, rng), rows

    def more(self, count: int, rng: Rng) -> Inputs:
        """`count` unlabelled samples, drawn with replacement and augmented like the others."""
        assert self.unlabelled is not None  # checked when the run builds its loop
        rows = torch.randint(len(self.unlabelled), (count,), generator=rng.cpu)
        x = as_inputs(self.unlabelled.x[rows.to(self.unlabelled.x.device, non_blocking=True)])
        no_targets = torch.zeros(count, self.num_classes, device=x.device)
        return self.augment(x, no_targets, rng)[0]
