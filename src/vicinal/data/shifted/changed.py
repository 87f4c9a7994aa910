"""A split whose images are changed when they are read, at random but always in the same way."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby

import torch
from jaxtyping import Bool, Shaped, UInt8
from torch import Generator, Tensor

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

    @property
    def pixels(self) -> bool:
        return self.part.pixels

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, rows: Shaped[Tensor, " m"]) -> "Changed":
        """The changes of the first images of `part`, on others: rows count from 0 again."""
        return replace(self, part=self.part[rows])

    def to(self, device: str, decoder: Decoder | None = None) -> "Changed":
        """The same images, as far as the devices' generators agree."""
        there = Generator(device).manual_seed(self.rng.device.initial_seed())
        rng = replace(self.rng, device=there)
        return replace(self, part=self.part.to(device, decoder), rng=rng)

    def batches(self, rows: Sequence[Rows], key: Key | None = None) -> Iterator[Batch]:
        """Changed images; only evaluations read them, so there is no key.

        The last block is kept for the next batch. The part is asked for all blocks at once, so that
        it can decode the next ones while a block is changed.
        """
        assert key is None
        size = max(1, BLOCK_PIXELS // (self.shape[-2] * self.shape[-1]))
        needed = [torch.unique(wanted // size).tolist() for wanted in rows]
        read = self._blocks([number for number, _ in groupby(chain(*needed))], size)
        number, block = -1, None
        for wanted, numbers in zip(rows, needed, strict=True):
            blocks = []
            for each in numbers:
                if each != number:
                    number, block = each, next(read)
                blocks.append(block)
            # Only the last block of the split may be shorter, and no other follows it.
            member = torch.searchsorted(torch.tensor(numbers), wanted // size)
            places = wanted % size + size * member
            there = wanted.to(self.y.device)
            x = torch.cat(blocks)
            yield x.index_select(0, places.to(x.device)), self.y.index_select(0, there), there

    def _blocks(self, numbers: Sequence[int], size: int) -> Iterator[Pixels]:
        """These blocks, changed: rows n * size and the following."""
        rows = torch.arange(len(self)).split(size)
        unchanged = self.part.batches([rows[number] for number in numbers])
        for number, (x, _, _) in zip(numbers, unchanged, strict=True):
            with torch.autocast(x.device.type, enabled=False):  # that is for the network
                changed = self.change(x, self.rng.fork(number))
            yield changed
