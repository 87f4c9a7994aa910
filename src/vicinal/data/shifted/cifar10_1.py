"""CIFAR-10.1 as published: new test images for CIFAR-10, collected in the same way.

Paper:    Recht, Roelofs, Schmidt, Shankar, Do CIFAR-10 Classifiers Generalize to CIFAR-10?,
          arXiv 1806.00451, 2018
v6 has 2,000 images, 200 of each class, and is the version that its authors recommend; v4, which
AugMax measures by default, has 2,021.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vicinal.data.download import RemoteFile, fetch
from vicinal.data.shifted.agreement import check_agreement
from vicinal.data.split import Part, Split
from vicinal.draws import Rng

Version = Literal["v4", "v6"]

_GITHUB = "https://github.com/modestyachts/CIFAR-10.1/raw/master/datasets"
FILES = {  # images and labels; checksums and sizes from TensorFlow Datasets
    "v4": (
        RemoteFile(
            name="cifar10.1_v4_data.npy",
            urls=(f"{_GITHUB}/cifar10.1_v4_data.npy",),
            checksum="sha256:5aaedc268df8f4cffca2ac0cf9e608ae1897a8cddb630c7a850a2ea8f6558e75",
            size=6_208_640,
        ),
        RemoteFile(
            name="cifar10.1_v4_labels.npy",
            urls=(f"{_GITHUB}/cifar10.1_v4_labels.npy",),
            checksum="sha256:1f9544300ded199539b6662364ce7fe6c2e1ea9f87408f06db4b1a6184cffb18",
            size=8_212,
        ),
    ),
    "v6": (
        RemoteFile(
            name="cifar10.1_v6_data.npy",
            urls=(f"{_GITHUB}/cifar10.1_v6_data.npy",),
            checksum="sha256:2997188e5816f5bd545dc77771b6227828c28146049fcecf3fa10775474cacc6",
            size=6_144_128,
        ),
        RemoteFile(
            name="cifar10.1_v6_labels.npy",
            urls=(f"{_GITHUB}/cifar10.1_v6_labels.npy",),
            checksum="sha256:ae40beda001693674edc94d925ee8268cfe68905f8f9aff800c8dcdfcd6c9448",
            size=8_128,
        ),
    ),
}


@dataclass(frozen=True)
class Cifar10Point1:
    """The versions of CIFAR-10.1, v4 and v6."""

    root: str = "data"
    versions: Sequence[Version] = ("v4", "v6")

    def __post_init__(self) -> None:
        if not self.versions or any(version not in FILES for version in self.versions):
            raise ValueError(f"versions must be v4, v6 or both, got {list(self.versions)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The versions."""
        return tuple(self.versions)

    def load(self, name: str, test: Part, rng: Rng) -> Split:
        """About 2,000 images in the 10 classes of CIFAR-10."""
        paths = (fetch(file, Path(self.root).expanduser()) for file in FILES[name])
        x, y = (np.load(path, allow_pickle=False) for path in paths)
        pixels = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        found = Split(pixels, torch.from_numpy(y).long())
        check_agreement(f"CIFAR-10.1 {name}", found, test)
        return found.to(str(test.y.device))
