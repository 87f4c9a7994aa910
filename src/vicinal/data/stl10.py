"""STL-10 as published: raw bytes in a tar archive.

Coates, Lee, Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", 2011.
The archive is large because of its 100,000 unlabelled images, so the files that a run needs are
extracted once, to the folder that torchvision uses too.
"""

import hashlib
import os
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from vicinal.data.download import RemoteFile, fetch
from vicinal.data.split import KnownSize, Split
from vicinal.errors import RunError

STL10 = RemoteFile(
    name="stl10_binary.tar.gz",
    urls=(
        "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
        "https://cs.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    ),
    checksum="sha256:f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
    size=2_640_397_119,
)
FOLDER = "stl10_binary"
LABELLED = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
UNLABELLED = "unlabeled_X.bin"
FOLDS = "fold_indices.txt"  # one line per fold: rows of the training images, from 0
MD5 = {  # from torchvision, and for the folds from github.com/datasets-mila/datasets--stl10
    "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
    "train_y.bin": "5a34089d4802c674881badbb80307741",
    "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
    "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
    UNLABELLED: "5242ba1fed5e4be9e1e742405eb56ca4",
    FOLDS: "4bbf8cd098ab9f87fe03fbcb37c06b28",
}


@dataclass(frozen=True)
class Stl10:
    """5,000 + 8,000 images of 96 x 96 in 10 classes, or 1,000 + 8,000; and 100,000 unlabelled."""

    fold: int | None = None  # of the ten predefined folds of 1,000 training images

    def __post_init__(self) -> None:
        if self.fold is not None and not 0 <= self.fold <= 9:
            raise ValueError(f"fold must be from 0 to 9, or null for all images, got {self.fold}")

    def __call__(self, root: Path) -> tuple[Split, Split]:
        folder = _folder(root, LABELLED if self.fold is None else (*LABELLED, FOLDS))
        train, test = _labelled(folder, "train"), _labelled(folder, "test")
        if self.fold is not None:
            rows = (folder / FOLDS).read_text().splitlines()[self.fold].split()
            train = train[torch.tensor([int(row) for row in rows])]
        return train, test

    @property
    def known_size(self) -> KnownSize:
        """Known before any of it is at hand."""
        train = 5_000 if self.fold is None else 1_000
        return {"classes": 10, "train": train, "test": 8_000, "shape": (3, 96, 96)}

    def unlabelled(self, root: Path) -> Split:
        """2.8 GB of similar images, some of other classes; their labels are -1."""
        x = _pixels(_folder(root, (UNLABELLED,)) / UNLABELLED)
        return Split(x, torch.full((len(x),), -1))


def _folder(root: Path, names: Sequence[str]) -> Path:
    """The folder with these files, extracted from the archive if missing, and verified."""
    folder = root / FOLDER
    if not all((folder / name).exists() for name in names):
        _copy_out(fetch(STL10, root), folder, names)
    for name in names:
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != MD5[name]:
            raise RunError(
                f"{folder / name} must have the MD5 {MD5[name]}, got {found} (delete it)"
            )
    return folder


def _copy_out(path: Path, folder: Path, names: Sequence[str]) -> None:
    """Extract each file whole or not at all, under our name for it, not the archive's."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(path) as archive:
        for member in archive:
            for name in names:
                if member.isfile() and member.name == f"{FOLDER}/{name}":
                    content = archive.extractfile(member)
                    assert content is not None
                    temporary = folder / f"{name}.{os.getpid()}.tmp"
                    with temporary.open("wb") as file:
                        shutil.copyfileobj(content, file)
                    temporary.replace(folder / name)
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise RunError(f"{path} must hold {FOLDER}/{missing[0]}, got no such file")


def _labelled(folder: Path, part: str) -> Split:
    y = np.fromfile(folder / f"{part}_y.bin", np.uint8).astype(np.int64) - 1
    return Split(_pixels(folder / f"{part}_X.bin"), torch.from_numpy(y))


def _pixels(path: Path) -> UInt8[Tensor, "n 3 96 96"]:
    """Images are stored column by column; transposed in place, to save a second copy."""
    x = np.fromfile(path, np.uint8).reshape(-1, 3, 96, 96)
    for start in range(0, len(x), 1000):
        piece = x[start : start + 1000]
        piece[...] = piece.transpose(0, 1, 3, 2).copy()
    return torch.from_numpy(x)
