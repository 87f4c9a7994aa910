"""Files that are either whole or not there, whenever the process or the machine stops."""

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
    """Yields a temporary path beside `path`; what is written there becomes `path` at the end.

    On an exception the temporary file goes and `path` stays as it was. The folder must exist.
    The temporary name is new each time, so that two processes cannot write into one file.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    except BaseException as error:  # an interrupt, too, must leave nothing behind
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say which
        raise
    sync(path.parent)  # the renaming itself lies in the folder


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """The whole content or none of it."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def checksum(content: bytes) -> str:
    """SHA-256 in hex: whether a file is still what was written."""
    return hashlib.sha256(content).hexdigest()


def write_json_atomically(path: Path, value: Any) -> None:
    """JSON with sorted keys, so that equal values are equal files; NaN and infinity are refused.

    A path whose bytes are not UTF-8 is a string with lone surrogates. They become JSON's own escape
    (`\\udce9`), so that the file is UTF-8 all the same and reads back as the string it was.
    """
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes_atomically(path, f"{text}\n".encode(errors="backslashreplace"))


def prepare_folder(folder: Path) -> None:
    """Make the folder, and see that files can be written to it, before hours depend on that."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(probe := folder / f".probe-{uuid.uuid4().hex}", b"")
    probe.unlink()


def remove_leftovers(folder: Path) -> None:
    """Delete, in all of the folder, what `atomic` could not when its process was killed.

    Only for whoever holds the folder's lock: another process may be writing right now.
    """
    for leftover in folder.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make the file's content, or the folder's names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
