"""What every dataset provides: splits whose samples come in batches, usually from memory."""

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

    def __getitem__(self, rows: Shaped[Tensor, " m"]) -> Any:
        """These samples, as a split of the same kind."""
        ...

    def to(self, device: str, decoder: Decoder | None = None) -> Any:
        """The same samples, for batches on another device; images on disk use the decoder."""
        ...

    def batches(self, rows: Sequence[Rows], key: Key | None = None) -> Iterator[Batch]:
        """The batches of these rows (on the CPU), in order.

        Images are uint8, feature vectors float32. With a key the batches are those of a training
        epoch, without one those of an evaluation.
        """
        ...


AnyPart = TypeVar("AnyPart", bound=Part)


@dataclass(frozen=True)
class Split:
    """A split in memory: uint8 images (n, c, h, w) or float32 vectors (n, d), and labels."""

    x: Shaped[Tensor, "n ..."]
    y: Labels
    redrawn: Bool[Tensor, " n"] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
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
    """The rows of each batch on a device, sent there in one copy."""
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
    mean: tuple[float, ...]  # of the network's first layer, one value per channel or feature
    std: tuple[float, ...]
    fingerprint: dict[str, str]  # of the content before any option, independent of its order
    canonical: bool | None  # False: not known to be the original; None: no reason to doubt
    unlabelled: Split | None = None  # more images, whose labels no method may use
    replaced: dict[str, str] = field(
        default_factory=dict
    )  # corrupt files, and the message about each
    augment: Vicinity = field(default_factory=Identity)  # of training batches, on the device

    @classmethod
    def of_test(cls, test: Part, num_classes: int) -> "Data":
        """A test set alone, for evaluations of a network that was trained elsewhere."""
        nothing = test[torch.empty(0, dtype=torch.int64)]
        one = (0.0,) * test.shape[0], (1.0,) * test.shape[0]
        return cls(nothing, test, None, num_classes, *one, fingerprint={}, canonical=None)

    def to(self, device: str, decoder: Decoder | None = None) -> "Data":
        """The same data on another device."""
        splits = {name: split.to(device, decoder) for name, split in self._splits().items()}
        return replace(self, **splits)

    def measured(self, last: bool = True) -> dict[str, Part]:
        """The splits to measure: the test set and a hold-out.

        After the last epoch also, where labels were redrawn, the redrawn and the kept samples.
        """
        splits = {"test": self.test} | ({"valid": self.valid} if self.valid else {})
        if last and self.train.redrawn is not None:
            redrawn = self.train.redrawn
            splits |= {"kept": self.train[~redrawn], "redrawn": self.train[redrawn]}
        return {name: split for name, split in splits.items() if len(split)}

    def summary(self) -> dict[str, Any]:
        """What a record says about the data."""
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
    """What a run needs from a dataset."""

    @property
    def name(self) -> str:
        """The name of the folder that holds its runs."""
        ...

    def load(self) -> Data:
        """Read the data, and download missing files."""
        ...


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
