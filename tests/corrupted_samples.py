"""Small sets in the form of CIFAR-10-C: arrays of numbers that say where they are from."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np

from vicinal.data.download import RemoteFile

IMAGES = 20  # per severity


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def arrays(corruptions: tuple[str, ...], classes: int) -> dict[str, bytes]:
    """The files by name; no two pixels of an array are alike, as far as bytes allow."""
    rng = np.random.default_rng(0)
    files = {
        name: npy(rng.integers(256, size=(5 * IMAGES, 32, 32, 3), dtype=np.uint8))
        for name in corruptions
    }
    labels = np.tile(np.arange(IMAGES, dtype=np.uint8)[::-1] % classes, 5)
    return files | {"labels": npy(labels)}


def tar(path: Path, files: dict[str, bytes]) -> bytes:
    """Write an archive as the published ones: with its folders, and one file more."""
    with tarfile.open(path, "w") as archive:
        folder = tarfile.TarInfo("CIFAR-10-C")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(f"CIFAR-10-C/{name}.npy")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path.read_bytes()


def md5(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.md5(content).hexdigest() for name, content in files.items()}


def remote(content: bytes, url: str) -> RemoteFile:
    checksum = f"md5:{hashlib.md5(content).hexdigest()}"
    return RemoteFile("CIFAR-10-C.tar", (url,), checksum, len(content))
