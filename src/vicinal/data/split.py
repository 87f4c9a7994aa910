"""What every dataset delivers: samples to be had by the batch, as a rule tensors in memory."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from vicinal.contracts import Samples, Vicinity
from vicinal.data.decode.pool import Decoder
from vicinal.vicinities.identity import Identity

Labels = Int64[Tensor, " n"]
Rows = Int64[Tensor, " _"]  # of whatever number: a batch among others
Batch = tuple[Shaped[Tensor, "n ..."], Labels, Rows]  # samples, labels, places in the split
Key = tuple[int, int]  # (seed, epoch), of which a sample's own draws are a function


@runtime_checkable
class Part(Samples, Protocol):
    """What a run asks of a split, wherever its samples lie."""

    @property
    def redrawn(self) -> Bool[Tensor, " n"] | None:
        """Which labels noise replaced, where there is noise."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        ...

    def __getitem__(self, rows: Shaped[Tensor, " m"]) -> Any:
        """These samples, as a split of the same kind."""
        ...

    def to(self, device: str, decoder: Decoder | None = None) -> Any:
        """The same samples, for batches on another device; what is on a disk has a decoder."""
        ...

    def batches(self, rows: Sequence[Rows], key: Key | None = None) -> Iterator[Batch]:
        """The batches of these rows (on the CPU), in order; with a key those of a training epoch.

        Images are uint8, feature vectors float32. Without a key they are as an evaluation sees
        them.
        """
        ...


AnyPart = TypeVar("AnyPart", bound=Part)


@dataclass(frozen=True)
class Split:
    """In memory: images as uint8 (n, c, h, w) or feature vectors as float32 (n, d), and labels."""

    x: Shaped[Tensor, "n ..."]
    y: Labels
    redrawn: Bool[Tensor, " n"] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return tuple(self.x.shape[1:])

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
    """The rows of each batch on a device, sent there at once."""
    if not batches:
        return ()
    return torch.cat(list(batches)).to(device).split([len(rows) for rows in batches])


@dataclass(frozen=True)
class Data:
    """One dataset as a run uses it."""

    train: Part
    test: Part
    valid: Part | None  # held out of train, never trained on
    num_classes: int
    mean: tuple[float, ...]  # of the network's first layer, one value a channel or a feature
    std: tuple[float, ...]
    fingerprint: dict[str, str]  # of the content before any option, whatever its order
    canonical: bool | None  # False: not, or not known to be, the original; None: nothing to doubt
    unlabelled: Split | None = None  # more images, whose labels no method may use
    replaced: dict[str, str] = field(default_factory=dict)  # corrupt files, what was said
    augment: Vicinity = field(default_factory=Identity)  # of training batches, on the device

    def to(self, device: str, decoder: Decoder | None = None) -> "Data":
        """The same data on another device."""
        splits = {name: split.to(device, decoder) for name, split in self._splits().items()}
        return replace(self, **splits)

    def measured(self, last: bool = True) -> dict[str, Part]:
        """The test set and a hold-out, epoch by epoch.

        After the last one also, where labels were redrawn, what was and what was not.
        """
        splits = {"test": self.test} | ({"valid": self.valid} if self.valid else {})
        if last and self.train.redrawn is not None:
            redrawn = self.train.redrawn
            splits |= {"kept": self.train[~redrawn], "redrawn": self.train[redrawn]}
        return {name: split for name, split in splits.items() if len(split)}

    def summary(self) -> dict[str, Any]:
        """What a record says of the data."""
        return {
            "samples": {name: len(split) for name, split in self._splits().items()},
            "num_classes": self.num_classes,
            "shape": list(self.train.shape),
            "fingerprint": self.fingerprint,
            "canonical": self.canonical,
        } | ({"replaced": len(self.replaced)} if self.replaced else {})

    def _splits(self) -> dict[str, Part]:
        named = {name: getattr(self, name) for name in ("train", "test", "valid", "unlabelled")}
        return {name: split for name, split in named.items() if split is not None}


@runtime_checkable
class Dataset(Protocol):
    """What a run asks of a dataset."""

    @property
    def name(self) -> str:
        """The folder its runs are filed under."""
        ...

    def load(self) -> Data:
        """Read it, downloading what is missing."""
        ...


def fingerprint(split: Split) -> str:
    """A name for content: equal for equal samples in any order, different where one pixel differs.

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
    """A source that has unlabelled images of its own."""

    def unlabelled(self, root: Path) -> Split:
        """Only read where they are wanted; their labels are -1."""
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


Whole = Callable[[Path], Split]  # (root) -> every sample, where none are set apart for testing
