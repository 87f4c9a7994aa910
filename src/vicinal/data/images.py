"""Image datasets held in memory as uint8, with the options in which papers differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from vicinal.contracts import Vicinity
from vicinal.data import npz
from vicinal.data.dataset import Data
from vicinal.data.split import Source, Split, WithUnlabelled, fingerprint
from vicinal.data.subsets import check_options, class_rows, held_out, noisy_labels
from vicinal.errors import RunError
from vicinal.vicinities.crop_flip import CropFlip
from vicinal.vicinities.identity import Identity

Pixels = UInt8[Tensor, "n c h w"]


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images that `source` reads, or those of an .npz file, prepared for training.

    The order is: resize, hold out, cap, label noise. Validation and test labels get no noise.
    """

    name: str = ""  # if empty, that of the file `arrays`, or else of the folder `root`
    source: Source | None
    root: str = "data"
    arrays: str | None = None
    size: int | None = None  # resized to size x size, bilinear, antialiased
    mean: Sequence[float] | None = None  # if null, as std, computed from the training images
    std: Sequence[float] | None = None
    crop_padding: int = 0
    crop_mode: Literal["zeros", "reflect"] = "zeros"
    flip: bool = False
    train_per_class: int | None = None
    holdout_per_class: int = 0
    split_seed: int = 0
    unlabelled: bool = False  # the source's, or else the images that train_per_class leaves out
    label_noise: float = 0.0
    label_noise_seed: int = 12345  # of Zhang et al. 2017's code, which mixup §3.4 follows
    canonical: dict[str, str] | None = None  # the fingerprint of the original
    known_size: dict[str, int | Sequence[int]] | None = None  # of the original

    def __post_init__(self) -> None:
        if self.arrays is None and self.source is None:
            raise ValueError(
                "arrays must be an .npz file, got null (there is nothing else to read)"
            )
        if self.arrays is not None and not Path(self.arrays).expanduser().is_file():
            raise ValueError(f"arrays must be an existing .npz file, got {self.arrays}")
        if not self.name:
            name = Path(self.root).name if self.arrays is None else Path(self.arrays).stem
            object.__setattr__(self, "name", name)
        least = {"size": 1, "crop_padding": 0, "train_per_class": 1, "holdout_per_class": 0}
        check_options(self, least)
        if self.unlabelled and self._own_unlabelled is None and self.train_per_class is None:
            raise ValueError(
                "unlabelled must be false without train_per_class, got true (nothing is left out)"
            )
        sizes = ["classes", "train", "test", "shape"]
        if self.known_size is not None and sorted(self.known_size) != sorted(sizes):
            raise ValueError(
                f"known_size must give {', '.join(sizes)}, got {', '.join(self.known_size)}"
            )
        if self.crop_mode not in ("zeros", "reflect"):
            raise ValueError(f"crop_mode must be zeros or reflect, got {self.crop_mode}")

    @property
    def augment(self) -> Vicinity:
        """Crop and flip, in pixel space, on batches on the device."""
        if not self.crop_padding and not self.flip:
            return Identity()
        return CropFlip(padding=self.crop_padding, mode=self.crop_mode, flip=self.flip)

    def load(self) -> Data:
        """Read, check, and reduce to the protocol."""
        train, test = self._read()
        marks = {"train": fingerprint(train), "test": fingerprint(test)}
        num_classes = int(train.y.max()) + 1
        if self.size is not None:
            train, test = resized(train, self.size), resized(test, self.size)
        if self.crop_mode == "reflect" and self.crop_padding >= min(train.x.shape[2:]):
            raise RunError(
                f"dataset.crop_padding must be less than the image, got {self.crop_padding} "
                f"(a side has {min(train.x.shape[2:])} pixels, and a reflection shows no more)"
            )
        more = self._more(train) if self.unlabelled else None
        train, valid = held_out(
            train, self.holdout_per_class, self.train_per_class, self.split_seed
        )
        mean, std = self._normalisation(train.x)
        if self.label_noise:
            noisy = noisy_labels(train.y, self.label_noise, num_classes, self.label_noise_seed)
            train = Split(train.x, *noisy)
        return Data(
            train=train,
            test=test,
            valid=valid,
            num_classes=num_classes,
            mean=mean,
            std=std,
            fingerprint=marks,
            canonical=self._is_original(marks),
            unlabelled=more,
            augment=self.augment,
        )

    @property
    def _own_unlabelled(self) -> WithUnlabelled | None:
        return self.source if not self.arrays and isinstance(self.source, WithUnlabelled) else None

    def _more(self, train: Split) -> Split:
        """Unlabelled images; the source's checksums cover them, the fingerprint does not."""
        source = self._own_unlabelled
        if source is None:
            return self._left_out(train)
        more = source.unlabelled(Path(self.root).expanduser())
        return more if self.size is None else resized(more, self.size)

    def _left_out(self, train: Split) -> Split:
        """The images that are neither held out nor trained on, labelled -1."""
        assert self.train_per_class is not None  # checked at construction
        used = self.holdout_per_class + self.train_per_class
        rows = [members[used:] for members in class_rows(train.y, self.split_seed)]
        x = train.x[torch.cat(rows).sort().values]
        if len(x) == 0:
            raise RunError(
                "dataset.unlabelled must be false where train_per_class leaves out no image, got "
                f"true (train_per_class={self.train_per_class} keeps every image)"
            )
        return Split(x, torch.full((len(x),), -1))

    def _read(self) -> tuple[Split, Split]:
        if self.arrays is not None:
            train, test = npz.images(Path(self.arrays).expanduser())
        else:
            assert self.source is not None
            train, test = self.source(Path(self.root).expanduser())
        check(train, test)
        return train, test

    def _normalisation(self, x: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if self.mean is None or self.std is None:
            return channel_statistics(x)
        if len(self.mean) != x.shape[1]:
            raise RunError(f"dataset.mean must have {x.shape[1]} values, got {list(self.mean)}")
        return tuple(map(float, self.mean)), tuple(map(float, self.std))

    def _is_original(self, marks: dict[str, str]) -> bool | None:
        """A source checks its files by checksum; arrays in its place need the fingerprint."""
        if self.canonical is not None:
            return marks == self.canonical
        return False if self.arrays is not None and self.source is not None else None


def check(train: Split, test: Split) -> None:
    """Refuse data, from any source, that later code cannot handle."""
    for part, split in (("training", train), ("test", test)):
        if split.x.numel() == 0:
            shape = " x ".join(map(str, split.x.shape))
            raise RunError(f"the {part} set must not be empty, got samples of {shape}")
    if train.x.shape[1:] != test.x.shape[1:]:
        shapes = [" x ".join(map(str, split.x.shape[1:])) for split in (train, test)]
        raise RunError(f"training and test samples must have one shape, got {' and '.join(shapes)}")
    for part, split in (("training", train), ("test", test)):
        if not split.x.is_floating_point():
            continue
        wrong = split.x.isinf().flatten(1).any(1)  # NaN marks a missing number
        if wrong.any():
            first = int(wrong.nonzero()[0])
            raise RunError(
                f"the {part} samples must be finite numbers as float32, got infinity in "
                f"{int(wrong.sum())} of {len(split)} (the first is number {first}, from 0)"
            )
    classes = train.y.unique().tolist()
    if classes != list(range(len(classes))):
        raise RunError(f"training labels must be 0 .. k - 1, each occurring, got {classes}")
    if not 0 <= int(test.y.min()) <= int(test.y.max()) < len(classes):
        raise RunError(
            f"test labels must be among the {len(classes)} of the training set, "
            f"got {test.y.unique().tolist()}"
        )


def resized(split: Split, size: int) -> Split:
    """Resize bilinearly with antialiasing, as Pillow does, in pieces to save memory."""
    height, width = split.x.shape[2:]
    if height == width == size:
        return split
    if height != width:
        raise RunError(
            f"dataset.size must be null where images are not square, got {size} for "
            f"{height} x {width} (resizing would distort them)"
        )

    def piece(x: Pixels) -> UInt8[Tensor, "n c size size"]:
        wanted = F.interpolate(x.float(), (size, size), mode="bilinear", antialias=True)
        return wanted.round().clamp(0, 255).to(torch.uint8)

    return Split(torch.cat([piece(x) for x in split.x.split(1024)]), split.y)


def channel_statistics(x: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in [0, 1]; a constant channel gets std 1."""
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in x.unbind(1)])
    weights = counts.double() / counts.sum(1, keepdim=True)
    mean = weights @ values
    std = (weights @ values**2 - mean**2).clamp_min(0).sqrt()
    std[(counts > 0).sum(1) == 1] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())
