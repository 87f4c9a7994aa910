"""Splits of classified samples, which come in batches, usually from memory."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from vicinal.contracts import Samples
from vicinal.data.decode.pool import Decoder

Labels = Int64[Tensor, " n"]
Rows = Int64[Tensor, " _"]  # of any number: batches, among others
Batch = tuple[Shaped[Tensor, "n ..."], Labels, Rows]  # samples, labels, places in the split
Key = tuple[int, int]  # (seed, epoch), which determine the draws of each sample


@runtime_checkable
class Part(Samples, Protocol):
    """What a run needs from a split, in memory or on disk."""

    @property
    def redrawn(self) -> Bool[Tensor, " n"] | None:
        """Which labels were redrawn at random, where there is label noise."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        ...

    @property
    def pixels(self) -> bool:
        """Whether samples are bytes, or numbers in [0, 1], as pixels are."""
        ...

    def __getitem__(self, rows: Shaped[Tensor, " m"]) -> Any:
        """These samples, as a split of the same kind."""
        ...

    def to(self, device: str, decoder: Decoder | None = None) -> Any:
        """The same samples, for batches on another device; images on disk use the decoder."""
        ...

    def batches(self, rows: Sequence[Rows], key: Key | None = None) -> Iterator[Batch]:
        """The batches of these rows (on the CPU), in order.

        Images are uint8, spectrograms float16, feature vectors float32. With a key the batches are
        those of a training epoch, without one those of an evaluation.
        """
        ...


AnyPart = TypeVar("AnyPart", bound=Part)


@dataclass(frozen=True)
class Split:
    """Labels, and in memory images (uint8), spectrograms (float16) or vectors (float32)."""

    x: Shaped[Tensor, "n ..."]
    y: Labels
    redrawn: Bool[Tensor, " n"] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def pixels(self) -> bool:
        if self.x.dtype == torch.uint8:
            return True
        lowest, highest = torch.aminmax(self.x)
        return bool(lowest >= 0 and highest <= 1)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Shaped[Tensor, " m"]) -> "Split":
        redrawn = None if self.redrawn is None else self.redrawn[rows]
        return Split(self.x[rows], self.y[rows], redrawn)

    def to(self, device: str, decoder: Decoder | None = None) -> "Split":
        """The same samples on another device; there is nothing to decode."""
        redrawn = None if self.redrawn is None else self.redrawn.to(device)
        return Split(self.x.to(device), self.y.to(device), redrawn)

    def batches(self, rows: Sequence[Rows], key: Key | None = None) -> Iterator[Batch]:
        """The samples are the same for training and evaluation, and in every epoch."""
        for places in on_device(rows, self.y.device):
            yield self.x.index_select(0, places), self.y.index_select(0, places), places


def on_device(batches: Sequence[Rows], device: torch.device) -> Sequence[Rows]:
    """The rows of each batch on a device, sent there in one copy."""
    if not batches:
        return ()
    return torch.cat(list(batches)).to(device).split([len(rows) for rows in batches])


def fingerprint(split: Split) -> str:
    """A digest of the content: equal for the same samples in any order, else different.

    One digest per sample (type, shape, label, bytes), sorted and digested again; 32 hex digits.
    """
    x = np.ascontiguousarray(split.x.numpy()).reshape(len(split), -1)
    kind = f"{x.dtype} {tuple(split.x.shape[1:])} ".encode()
    digests = [
        hashlib.blake2b(row.data, digest_size=16, key=b"%s%d" % (kind, label)).digest()
        for row, label in zip(x, split.y.tolist(), strict=True)
    ]
    return hashlib.blake2b(b"".join(sorted(digests)), digest_size=16).hexdigest()


Source = Callable[[Path], tuple[Split, Split]]  # (root) -> (train, test)


@runtime_checkable
class WithUnlabelled(Protocol):
    """A source with its own unlabelled images."""

    def unlabelled(self, root: Path) -> Split:
        """Read them, which happens only where they are used; their labels are -1."""
        ...


# Of the original, before any option: classes, train, test and, where no option says it, shape.
# `train` is a list, one number per class, where options depend on the smaller classes.
KnownSize = Mapping[str, Any]


@runtime_checkable
class WithKnownSize(Protocol):
    """A source whose own settings decide how many images it has."""

    @property
    def known_size(self) -> KnownSize:
        """Known before any of it is read."""
        ...


Whole = Callable[[Path], Split]  # (root) -> all samples of a source without a test set
