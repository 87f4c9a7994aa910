"""Image folders too large for memory: listed once per run, decoded batch by batch."""

import hashlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vicinal.contracts import Vicinity
from vicinal.data.dataset import Data
from vicinal.data.decode.crops import Crop
from vicinal.data.image_folder import class_folders, files, layout
from vicinal.data.stream import StreamedSplit
from vicinal.data.subsets import check_options, held_out, noisy_labels
from vicinal.errors import RunError
from vicinal.machine import ranks
from vicinal.vicinities.color_jitter import ColorJitter
from vicinal.vicinities.compose import Compose
from vicinal.vicinities.crop_flip import CropFlip
from vicinal.vicinities.identity import Identity

LISTING_THREADS = 16  # on a network drive each waits for the server


@dataclass(frozen=True, kw_only=True)
class StreamedImages:
    """ROOT/train/CLASS/* and ROOT/test/CLASS/* (or val), of any size and number.

    Training sees RandomResizedCrop(size, scale, ratio) and a flip, evaluation Resize(resize) and
    CenterCrop(size), both as torchvision makes them from Pillow images. The fingerprint covers the
    names and sizes of the files, since reading the pixels would take hours.
    """

    name: str = ""  # if empty, the name of the folder
    root: str
    test: str | None = None  # test or val, where both exist
    also: Sequence[str] = ()  # folders beside train, ROOT/NAME/CLASS/*, that are trained on too
    size: int = 224
    resize: int = 256
    scale: Sequence[float] = (0.08, 1.0)
    ratio: Sequence[float] = (3 / 4, 4 / 3)
    flip: bool = True
    jitter: float = 0.0  # of brightness, contrast and saturation
    lighting: float = 0.0
    mean: Sequence[float]
    std: Sequence[float]
    corrupt: Literal["stop", "replace"] = "stop"
    train_per_class: int | None = None
    holdout_per_class: int = 0
    split_seed: int = 0
    label_noise: float = 0.0
    label_noise_seed: int = 12345
    known_size: dict[str, int] | None = None  # classes, train, test of the original

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", Path(self.root).name)
        check_options(
            self, {"train_per_class": 1, "holdout_per_class": 0, "jitter": 0, "lighting": 0}
        )
        if len(self.mean) != 3:
            raise ValueError(f"mean must have 3 values, got {list(self.mean)}")
        for key in ("scale", "ratio"):
            if len(getattr(self, key)) != 2:
                raise ValueError(f"{key} must be two numbers, got {list(getattr(self, key))}")
        self._crop  # noqa: B018 (its constructor checks the rest)

    @property
    def augment(self) -> Vicinity:
        """Flip and colours, on batches on the device; cropping is part of decoding."""
        flip = CropFlip(padding=0, flip=True) if self.flip else Identity()
        colours = ColorJitter(self.jitter, self.lighting)
        return Compose(flip, colours) if self.jitter or self.lighting else flip

    @property
    def _crop(self) -> Crop:
        scale, ratio = tuple(self.scale), tuple(self.ratio)
        return Crop(self.size, self.resize, (scale[0], scale[1]), (ratio[0], ratio[1]))

    def load(self) -> Data:
        """List the folders, and reduce the training set to the protocol."""
        root = Path(self.root).expanduser()
        folder, classes = layout(root, self.test, "dataset.test")
        replaced: dict[str, str] = {}

        def part(name: str, *also: str) -> tuple[StreamedSplit, dict[str, str]]:
            names, labels, marks = together(root, (name, *also), classes)
            where = str(root / name)
            return StreamedSplit(where, names, labels, self._crop, self.corrupt, replaced), marks

        (train, of_train), (test, of_test) = part("train", *self.also), part(folder)
        found = {"classes": len(classes), "train": len(train), "test": len(test)}
        train, valid = held_out(
            train, self.holdout_per_class, self.train_per_class, self.split_seed
        )
        if self.label_noise:
            noisy = noisy_labels(train.y, self.label_noise, len(classes), self.label_noise_seed)
            train = replace(train, y=noisy[0], redrawn=noisy[1])
        return Data(
            train=train,
            test=test,
            valid=valid,
            num_classes=len(classes),
            mean=tuple(map(float, self.mean)),
            std=tuple(map(float, self.std)),
            fingerprint={**of_train, "test": of_test[folder]},
            canonical=self._is_original(found),
            replaced=replaced,
            augment=self.augment,
        )

    def _is_original(self, found: dict[str, int]) -> bool | None:
        """Different numbers prove that it is not; equal ones raise no doubt, but prove nothing."""
        if self.known_size is None or found == self.known_size:
            return None
        if ranks.is_main():
            other = [
                f"{found[key]:,} instead of {count:,} ({key})"
                for key, count in self.known_size.items()
                if found[key] != count
            ]
            print(
                f"{self.root} is not the original {self.name}: {', '.join(other)}; "
                "its records will say so",
                file=sys.stderr,
            )
        return False


def together(
    root: Path, folders: Sequence[str], classes: Sequence[str]
) -> tuple[np.ndarray, torch.Tensor, dict[str, str]]:
    """The images of several folders: names relative to the first, labels, a digest of each."""
    first, *others = folders
    for name in others:
        if not (root / name).is_dir():
            raise RunError(f"dataset.also must be folders in {root}, got {name}")
        if class_folders(root / name) != list(classes):
            raise RunError(f"{root / name} must have the classes of {root / first}")
    found = {name: listed(root / name, classes) for name in folders}
    names = [found[first][0]]
    names += [np.char.add(f"../{name}/".encode(), found[name][0]) for name in others]
    labels = torch.cat([labels for _, labels, _ in found.values()])
    return np.concatenate(names), labels, {name: mark for name, (*_, mark) in found.items()}


def listed(folder: Path, classes: Sequence[str]) -> tuple[np.ndarray, torch.Tensor, str]:
    """The images of each class by name, their labels, and a digest of their names and sizes."""
    with ThreadPoolExecutor(LISTING_THREADS) as pool:
        found = list(pool.map(lambda label: files(folder, label), classes))
    digest = hashlib.blake2b(digest_size=16)
    for each in found:
        digest.update(b"".join(b"%s\0%d\n" % (name, stat.st_size) for name, stat in each))
    names = np.array([name for each in found for name, _ in each])
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor([*map(len, found)]))
    return names, labels, digest.hexdigest()
