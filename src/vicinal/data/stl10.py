"""STL-10's labelled images as published: raw bytes in a tar archive.

Coates, Lee, Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", 2011.
The archive is large for its 100,000 unlabelled images, so the four files that are needed are
copied out of it once, to where torchvision extracts them too.
"""

import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import torch

from vicinal.data.download import RemoteFile, checksum, fetch
from vicinal.data.split import Split
from vicinal.errors import RunError

STL10 = RemoteFile(
    name="stl10_binary.tar.gz",
    urls=(
        "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
        "https://cs.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    ),
    sha256="f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
    size=2_640_397_119,
)
FOLDER = "stl10_binary"
MD5 = {
    "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
    "train_y.bin": "5a34089d4802c674881badbb80307741",
    "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
    "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
}


def stl10(root: Path) -> tuple[Split, Split]:
    """5,000 + 8,000 images of 96 x 96 in 10 classes."""
    folder = root / FOLDER
    if not all((folder / name).exists() for name in MD5):
        _copy_out(fetch(STL10, root), folder)
    for name, expected in MD5.items():
        found = checksum(folder / name, "md5")
        if found != expected:
            raise RunError(f"{folder / name} must have the MD5 {expected}, got {found} (delete it)")
    return _read(folder, "train"), _read(folder, "test")


def _copy_out(path: Path, folder: Path) -> None:
    """Each wanted file whole or not at all, under our name for it, not the archive's."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(path) as archive:
        for member in archive:
            for name in MD5:
                if member.isfile() and member.name == f"{FOLDER}/{name}":
                    content = archive.extractfile(member)
                    assert content is not None
                    temporary = folder / f"{name}.{os.getpid()}.tmp"
                    with temporary.open("wb") as file:
                        shutil.copyfileobj(content, file)
                    temporary.replace(folder / name)
    missing = [name for name in MD5 if not (folder / name).exists()]
    if missing:
        raise RunError(f"{path} must hold {FOLDER}/{missing[0]}, got no such file")


def _read(folder: Path, part: str) -> Split:
    x = np.fromfile(folder / f"{part}_X.bin", np.uint8).reshape(-1, 3, 96, 96)
    y = np.fromfile(folder / f"{part}_y.bin", np.uint8).astype(np.int64) - 1
    pixels = np.ascontiguousarray(x.transpose(0, 1, 3, 2))  # stored column by column
    return Split(torch.from_numpy(pixels), torch.from_numpy(y))
