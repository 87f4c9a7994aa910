"""What every dataset delivers: tensors in memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Int64, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Samples and labels: images as uint8 (n, c, h, w), feature vectors as float32 (n, d)."""

    x: Shaped[Tensor, "n ..."]
    y: Int64[Tensor, " n"]
    redrawn: Bool[Tensor, " n"] | None = None  # which labels noise replaced, where there is noise

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Shaped[Tensor, " m"]) -> "Split":
        redrawn = None if self.redrawn is None else self.redrawn[rows]
        return Split(self.x[rows], self.y[rows], redrawn)

    def to(self, device: str) -> "Split":
        """The same samples on another device."""
        redrawn = None if self.redrawn is None else self.redrawn.to(device)
        return Split(self.x.to(device), self.y.to(device), redrawn)


@dataclass(frozen=True)
class Data:
    """One dataset as a run uses it."""

    train: Split
    test: Split
    valid: Split | None  # held out of train, never trained on
    num_classes: int
    mean: tuple[float, ...]  # of the network's first layer, one value a channel or a feature
    std: tuple[float, ...]
    fingerprint: dict[str, str]  # of the content before any option, whatever its order
    canonical: bool | None  # False: not, or not known to be, the original; None: nothing to doubt
    unlabelled: Split | None = None  # more images, whose labels no method may use

    def to(self, device: str) -> "Data":
        """The same data on another device."""
        splits = {name: split.to(device) for name, split in self._splits().items()}
        return replace(self, **splits)

    @property
    def measured(self) -> dict[str, Split]:
        """The test set, a hold-out, and where labels were redrawn, what was and what was not."""
        splits = {"test": self.test} | ({"valid": self.valid} if self.valid else {})
        if self.train.redrawn is not None:
            redrawn = self.train.redrawn
            splits |= {"kept": self.train[~redrawn], "redrawn": self.train[redrawn]}
        return {name: split for name, split in splits.items() if len(split)}

    def summary(self) -> dict[str, Any]:
        """What a record says of the data."""
        return {
            "samples": {name: len(split) for name, split in self._splits().items()},
            "num_classes": self.num_classes,
            "shape": list(self.train.x.shape[1:]),
            "fingerprint": self.fingerprint,
            "canonical": self.canonical,
        }

    def _splits(self) -> dict[str, Split]:
        named = {name: getattr(self, name) for name in ("train", "test", "valid", "unlabelled")}
        return {name: split for name, split in named.items() if split is not None}


Source = Callable[[Path], tuple[Split, Split]]  # (root) -> (train, test)


@runtime_checkable
class WithUnlabelled(Protocol):
    """A source that has unlabelled images of its own."""

    def unlabelled(self, root: Path) -> Split:
        """Only read where they are wanted; their labels are -1."""
        ...


Whole = Callable[[Path], Split]  # (root) -> every sample, where none are set apart for testing
