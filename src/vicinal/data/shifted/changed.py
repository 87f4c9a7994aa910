"""A split whose images are changed when they are read, at random but always in the same way."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Shaped, UInt8
from torch import Tensor

from vicinal.data.decode.pool import Decoder
from vicinal.data.split import Batch, Key, Labels, Part, Rows
from vicinal.draws import Rng

Pixels = UInt8[Tensor, "n c h w"]
Change = Callable[[Pixels, Rng], Pixels]

BLOCK_PIXELS = 1_024_000  # 1000 images of 32 x 32, 20 of 224 x 224


@dataclass(frozen=True)
class Changed:
    """The images of `part`, changed in blocks of consecutive rows, each block by its own draws.

    So an image depends neither on the batch it is read in nor on the number of ranks.
    """

    part: Part
    change: Change
    rng: Rng

    @property
    def y(self) -> Labels:
        """The labels, which no change touches."""
        return self.part.y

    @property
    def redrawn(self) -> Bool[Tensor, " n"] | None:
        """As the part's."""
        return self.part.redrawn

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, which no change touches."""
        return self.part.shape

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, rows: Shaped[Tensor, " m"]) -> "Changed":
        """The changes of the first images of `part`, on others: rows count from 0 again."""
        return replace(self, part=self.part[rows])

    def to(self, device: str, decoder: Decoder | None = None) -> "Changed":
        """The same images, as far as the devices' generators agree."""
        return replace(self, part=self.part.to(device, decoder))

    def batches(self, rows: Sequence[Rows], key: Key | None = None) -> Iterator[Batch]:
        """Changed images; only evaluations read them, so there is no key."""
        assert key is None
        size = max(1, BLOCK_PIXELS // (self.shape[-2] * self.shape[-1]))
        number, block = -1, torch.empty(0)
        for wanted in rows:
            parts = []
            for each in torch.unique(wanted // size).tolist():
                if each != number:
                    number, block = each, self._block(each, size)
                parts.append((each, block))
            first = torch.tensor([n for n, _ in parts]) * size
            starts = torch.cumsum(torch.tensor([0, *(len(b) for _, b in parts)]), 0)[:-1]
            member = torch.searchsorted(first, wanted, right=True) - 1
            places = (wanted - first[member] + starts[member]).to(block.device)
            there = wanted.to(self.y.device)
            x = torch.cat([b for _, b in parts]).index_select(0, places)
            yield x, self.y.index_select(0, there), there

    def _block(self, number: int, size: int) -> Pixels:
        rows = torch.arange(number * size, min((number + 1) * size, len(self)))
        ((x, _, _),) = self.part.batches([rows])
        return self.change(x, self.rng.fork(number))
