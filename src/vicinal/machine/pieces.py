"""Gradient accumulation: a rank's shard of a batch, in pieces that go through the network in turn.

Each piece is processed as the shard of one more rank would be. It has draws of its own; what ranks
draw together is drawn together for all pieces. BatchNorm normalises each piece, and its running
statistics are averaged over the pieces, in one update per step. Other buffers, such as a counter of
steps or a teacher's weights, change once per step, because every piece starts from the same ones.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vicinal.contracts import Memory, Rows
from vicinal.draws import Rng
from vicinal.machine import ranks
from vicinal.machine.exchange import running_statistics


class Piece(NamedTuple):
    """Samples that go through the network together; `weight` is that of their mean loss."""

    x: Tensor
    y: Any
    rows: Rows
    memory: Memory
    weight: float = 1.0


class Pieces:
    """Divides batches for one network."""

    def __init__(self, model: nn.Module, rng: Rng, count: int) -> None:
        self.model, self.rng, self.count = model, rng, count

    def of(self, shard: Piece, whole: int) -> Iterator[Piece]:
        """The pieces of this rank's shard of a batch of `whole` samples.

        All ranks have the same number. The next piece must be asked for after the backward of the
        one before; the shard's memory is replaced after the last one.
        """
        length, weight = len(shard.x), ranks.share(len(shard.x), whole)
        count = num_pieces(ranks.smallest_shard(whole), self.count)
        if count == 1:
            yield shard._replace(weight=weight)
            return
        start, memories = _Start(self.model, self.rng), []
        for rows in _slices(length, count):
            start.restore()
            memory = Memory(tuple(values[rows] for values in shard.memory.state))
            part = weight * (rows.stop - rows.start) / length
            yield Piece(shard.x[rows], shard.y[rows], shard.rows[rows], memory, part)
            start.add((rows.stop - rows.start) / length)
            memories.append(memory.state)
        start.average()
        shard.memory.state = tuple(torch.cat(values) for values in zip(*memories, strict=True))


def num_pieces(samples: int, wanted: int) -> int:
    """Of so many samples: at the end of an epoch there may be fewer than pieces are wanted."""
    return min(wanted, samples)


class _Start:
    """What all pieces of a step start from, and the sum of the running statistics they lead to."""

    def __init__(self, model: nn.Module, rng: Rng) -> None:
        self.shared, self.shared_state = rng.shared, rng.shared.get_state()
        self.buffers = list(model.buffers())
        self.before = [values.clone() for values in self.buffers]
        self.statistics = list(running_statistics(model))
        self.sums = [torch.zeros_like(values) for values in self.statistics]

    def restore(self) -> None:
        self.shared.set_state(self.shared_state)
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.before)  # pyright: ignore[reportPrivateImportUsage]

    def add(self, weight: float) -> None:
        if self.statistics:
            torch._foreach_add_(self.sums, self.statistics, alpha=weight)  # pyright: ignore[reportPrivateImportUsage]

    def average(self) -> None:
        if self.statistics:
            torch._foreach_copy_(self.statistics, self.sums)  # pyright: ignore[reportPrivateImportUsage]


def _slices(length: int, count: int) -> Iterator[slice]:
    """As `Tensor.tensor_split` divides, and so `ranks.shard`."""
    size, more = divmod(length, count)
    for number in range(count):
        first = number * size + min(number, more)
        yield slice(first, first + size + (number < more))
