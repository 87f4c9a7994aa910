"""What every dataset delivers: tensors in memory, and the contract of what reads them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Bool, Int64, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Samples and labels: images as uint8 (n, c, h, w), feature vectors as float32 (n, d)."""

    x: Shaped[Tensor, "n ..."]
    y: Int64[Tensor, "n"]
    redrawn: Bool[Tensor, "n"] | None = None  # which labels noise replaced, where there is noise

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Shaped[Tensor, "m"]) -> "Split":
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
    fingerprint: dict[str, str]  # of the content of train and test, whatever its order


Source = Callable[[Path], tuple[Split, Split]]  # (root) -> (train, test)
