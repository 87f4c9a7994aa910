"""Atomic writes: a file is complete or absent, whenever the process or the machine stops."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; the file written there becomes `path` at the end.

    On an exception the temporary file is deleted and `path` stays as it was. The folder must exist.
    The temporary name is unique, so that two processes cannot write into one file.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    except BaseException as error:  # an interrupt must leave nothing behind, either
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # the error of a full disk names no file
        raise
    sync(path.parent)  # the new name is stored in the folder


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write the whole content or nothing."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def checksum(content: bytes) -> str:
    """SHA-256 in hex, to see whether a file is still what was written."""
    return hashlib.sha256(content).hexdigest()


def write_json_atomically(path: Path, value: Any) -> None:
    """Write JSON with sorted keys: equal values make equal files; NaN and infinity are refused.

    A path whose bytes are not UTF-8 is a string with lone surrogates. They are written as JSON
    escapes (`\\udce9`), so that the file is valid UTF-8 and reads back as the same string.
    """
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes_atomically(path, f"{text}\n".encode(errors="backslashreplace"))


def prepare_folder(folder: Path) -> None:
    """Make the folder, and check that it is writable, before hours of training depend on it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(probe := folder / f".probe-{uuid.uuid4().hex}", b"")
    probe.unlink()


def remove_leftovers(folder: Path) -> None:
    """Delete, at any depth, the temporary files of killed processes.

    The caller must hold the folder's lock: another process may be writing right now.
    """
    for leftover in folder.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's names, to disk, to survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
