"""Where the images of a corrupted set begin in its archive, which is never extracted.

Listing the 750,000 files of an archive takes a minute or more, so it happens once: the index is
kept next to the archive, and rebuilt when the archive's size or mtime changes.
"""

import os
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Shaped

from vicinal.data.download import RemoteFile, fetch
from vicinal.data.image_folder import is_image
from vicinal.errors import RunError
from vicinal.storage.locks import lock


class TarIndex(NamedTuple):
    """The images of an archive by name: CORRUPTION/SEVERITY/CLASS/FILE, sorted."""

    names: Shaped[np.ndarray, " n"]  # as bytes
    offsets: Int64[np.ndarray, " n"]
    sizes: Int64[np.ndarray, " n"]

    def below(self, folder: str) -> Shaped[np.ndarray, " m"]:
        """The names in a folder, with their places: NAME!OFFSET+SIZE, which decoders read."""
        rows = np.char.startswith(self.names, os.fsencode(f"{folder}/")).nonzero()[0]
        each = zip(self.names[rows], self.offsets[rows], self.sizes[rows], strict=True)
        return np.array([b"%s!%d+%d" % place for place in each])


def tar_index(archive: RemoteFile, root: Path) -> TarIndex:
    """The index of an archive, which is downloaded if missing, and verified before it is listed."""
    path = root / archive.name
    kept = path.with_suffix(".index.npz")
    index = _read(kept, path)
    if index is not None:
        return index
    fetch(archive, root)
    try:
        with kept.open("a+b") as file:
            lock(file, wait=True)
            index = _read(kept, path)  # while this process waited, another may have listed it
            if index is None:
                print(f"listing {path}, once", file=sys.stderr)
                index = _listed(path)
                _write(kept, path, index)
            return index
    except OSError as error:
        raise RunError(f"{kept} could not be written: {error}") from error


def _listed(path: Path) -> TarIndex:
    found: dict[bytes, tuple[int, int]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                # Python keeps a kilobyte per member. pyright does not know the attribute.
                archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
                if member.isfile() and is_image(member.name):
                    name = "/".join(member.name.split("/")[-4:])
                    found[os.fsencode(name)] = member.offset_data, member.size
    except tarfile.TarError as error:
        raise RunError(f"{path} must be a tar archive, got: {error}") from error
    names = sorted(found)
    places = np.array([found[name] for name in names], np.int64).reshape(-1, 2)
    return TarIndex(np.array(names, dtype=np.bytes_), *np.ascontiguousarray(places.T))


def _key(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"


def _read(kept: Path, path: Path) -> TarIndex | None:
    try:
        with kept.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if str(file["key"]) == _key(path):
                return TarIndex(*(file[name] for name in TarIndex._fields))
    except Exception:  # missing, damaged or foreign: NumPy and zipfile raise many kinds
        return None
    return None


def _write(kept: Path, path: Path, index: TarIndex) -> None:
    """Write the whole file or nothing."""
    temporary = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, key=np.array(_key(path)), **index._asdict())
    temporary.replace(kept)
