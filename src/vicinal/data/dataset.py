"""What a run needs from its data: splits, batches of them, and what its network sees first."""

from collections.abc import Sized
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vicinal.contracts import (
    Detector,
    Images,
    Inputs,
    LanguageModel,
    Maps,
    Method,
    Photos,
    Vicinity,
    Words,
    parts,
)
from vicinal.data.batches import Batches, Feed
from vicinal.data.decode.pool import Decoder
from vicinal.data.split import Part, Split
from vicinal.errors import RunError
from vicinal.models.normalized import Normalized
from vicinal.vicinities.identity import Identity

OTHERS = {Words: "text", Photos: "objects in photos"}  # what methods may be for, instead


@runtime_checkable
class RunData(Protocol):
    """What a run needs from its data."""

    @property
    def train(self) -> Sized: ...

    @property
    def valid(self) -> Sized | None:
        """Held out, never trained on."""
        ...

    @property
    def num_classes(self) -> int:
        """How many classes, or words, a network tells apart."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        ...

    @property
    def fingerprint(self) -> dict[str, str]:
        """Of the content, before any option."""
        ...

    @property
    def replaced(self) -> dict[str, str]:
        """Corrupt files, and the message about each."""
        ...

    def to(self, device: str, decoder: Decoder | None = None) -> "RunData":
        """The same data on another device."""
        ...

    def check_method(self, key: str, method: Method) -> None:
        """Refuse a method, or a part of it, that does not take such samples."""
        ...

    def check_network(self, body: nn.Module) -> None:
        """Refuse a network of another kind; it may be one without weights."""
        ...

    def network(self, body: nn.Module) -> nn.Module:
        """The network as it takes these samples."""
        ...

    def zeros(self, device: str) -> Tensor:
        """A sample of zeros, as a network takes it."""
        ...

    def batches(self, batch_size: int, seed: int) -> Feed:
        """What a run trains on."""
        ...

    def measured(self, last: bool = True) -> dict[str, Any]:
        """The splits to measure after an epoch, or after the last one."""
        ...

    def summary(self) -> dict[str, Any]:
        """What a record says about the data."""
        ...


@dataclass(frozen=True)
class Data:
    """Splits of classified samples, as a run uses them."""

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

    @property
    def shape(self) -> tuple[int, ...]:
        return self.train.shape

    @property
    def pixels(self) -> bool:
        """Whether samples are images with values in [0, 1], not other maps or vectors."""
        return len(self.test.shape) == 3 and self.test.pixels

    def check_method(self, key: str, method: Method) -> None:
        taken = (Inputs, *((Maps,) if len(self.shape) == 3 else ()), *((Images,) * self.pixels))
        for place, kind, takes in parts(method, key):
            if takes in OTHERS:
                other = OTHERS[takes]
                raise RunError(f"{place} must take this dataset's samples, got {kind}, for {other}")
            if takes in (Images, Maps) and takes not in taken:
                ours, theirs = ("spectrograms", "pixels in [0, 1]")
                if len(self.shape) != 3:
                    ours, theirs = ("feature vectors", "images")
                raise RunError(
                    f"{place} must take {ours} with this dataset, got {kind}, which needs {theirs} "
                    f"(a sample is {' x '.join(map(str, self.shape))} numbers)"
                )

    def check_network(self, body: nn.Module) -> None:
        for other, what in ((LanguageModel, "a language model"), (Detector, "a detector")):
            if isinstance(body, other):
                kind = type(body).__name__
                raise RunError(f"model must not be {what} with this dataset, got {kind}")

    def network(self, body: nn.Module) -> nn.Module:
        return Normalized(body, self.mean, self.std)

    def zeros(self, device: str) -> Tensor:
        return torch.zeros(1, *self.shape, device=device)

    def batches(self, batch_size: int, seed: int) -> Batches:
        return Batches(
            self.train, self.num_classes, batch_size, self.augment, seed, self.unlabelled
        )

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
            "shape": list(self.shape),
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

    def load(self) -> RunData:
        """Read the data, and download missing files."""
        ...
