"""Small sets in the form of the published ones: arrays, or folders of JPEGs, in tar archives."""

import hashlib
import io
import tarfile
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from vicinal.data.download import RemoteFile

IMAGES = 20  # per severity of an array


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def arrays(corruptions: tuple[str, ...], classes: int) -> dict[str, bytes]:
    """Random pixels of each corruption, and labels."""
    rng = np.random.default_rng(0)
    files = {
        name: npy(rng.integers(256, size=(5 * IMAGES, 32, 32, 3), dtype=np.uint8))
        for name in corruptions
    }
    labels = np.tile(np.arange(IMAGES, dtype=np.uint8)[::-1] % classes, 5)
    return files | {"labels": npy(labels)}


def tar(path: Path, files: dict[str, bytes]) -> bytes:
    """Write an archive with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name in sorted({name.rpartition("/")[0] for name in files}):
            folder = tarfile.TarInfo(name)
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path.read_bytes()


def extract(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def remote(name: str, content: bytes, url: str = "http://127.0.0.1:9/") -> RemoteFile:
    return RemoteFile(name, (url,), f"md5:{md5(content)}", len(content))


def jpegs(corruption: str, side: int, classes: tuple[str, ...], count: int = 2) -> dict[str, bytes]:
    """CORRUPTION/SEVERITY/CLASS/FILE, each of another colour."""
    draws = Random(corruption)
    return {
        f"{corruption}/{severity}/{wnid}/ILSVRC2012_val_{number:08}.JPEG": _jpeg(side, draws)
        for severity in range(1, 6)
        for wnid in classes
        for number in range(count)
    }


def pixels(jpeg: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image).transpose(2, 0, 1)


def _jpeg(side: int, draws: Random) -> bytes:
    buffer = io.BytesIO()
    colours = np.frombuffer(draws.randbytes(3 * 16), np.uint8).reshape(4, 4, 3)
    Image.fromarray(colours).resize((side, side)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
