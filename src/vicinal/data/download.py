"""Downloads that resume, try several sources, and are opened only after their checksum matches."""

import hashlib
import http.client
import io
import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from vicinal.cli.typed import typed
from vicinal.errors import RunError
from vicinal.storage.locks import lock

TIMEOUT_SECONDS = 30  # of silence, not of the whole download


@dataclass(frozen=True)
class RemoteFile:
    """One published file: its sources, and the checksum that identifies it."""

    name: str  # below the folder of the data
    urls: tuple[str, ...]
    checksum: str  # ALGORITHM:HEX, as it was published
    size: int


class DownloadError(RunError):
    """A file is missing and cannot be downloaded, or the local file is a different one."""


def fetch(file: RemoteFile, root: Path) -> Path:
    """The path of the file under `root`: downloaded if missing, checksum verified."""
    path = root / file.name
    if not path.exists():
        part = root / f"{file.name}.part"
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.touch()
        except OSError as error:
            raise _unavailable(file, root, str(error)) from error
        with _locked(part) as content:
            if not path.exists():  # while this process waited, another may have finished it
                _download(file, content, root)
                part.replace(path)
                return path
    with path.open("rb") as content:
        found = _checksum(content, like=file.checksum)
    if found != file.checksum:
        raise DownloadError(
            f"{path} must have the checksum {file.checksum}, got {found} "
            "(damaged, or another file; delete it to download it again)"
        )
    return path


def _checksum(content: io.BufferedIOBase, like: str) -> str:
    """The checksum of what is left to read, by the algorithm of another one."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.file_digest(content, algorithm).hexdigest()}"


@contextmanager
def _locked(part: Path) -> Iterator[io.BufferedRandom]:
    """The partial file, open for appending in this process alone.

    A process that waited may hold a file that was finished and renamed meanwhile. It then opens the
    path again, so that no process writes into a finished file.
    """
    while True:
        with part.open("a+b") as file:
            try:
                lock(file, wait=False)
            except BlockingIOError:
                print(f"waiting for another process to download {part.stem}", file=sys.stderr)
                lock(file, wait=True)
            if not _is_at(file, part):
                continue
            try:
                yield file
            finally:
                if _size(file) == 0:
                    part.unlink(missing_ok=True)
            return


def _is_at(file: io.BufferedRandom, path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _size(file: io.BufferedRandom) -> int:
    return file.seek(0, os.SEEK_END)


def _download(file: RemoteFile, part: io.BufferedRandom, root: Path) -> None:
    """Fill `part` from the first source that delivers the right bytes."""
    failures = []
    sources = list(file.urls)
    while sources:
        url = sources.pop(0)
        leftover = _size(part) > 0
        try:
            _fill(file, part, url)
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{urlsplit(url).netloc}: {error}")
            continue
        part.flush()
        os.fsync(part.fileno())
        part.seek(0)
        found = _checksum(part, like=file.checksum)
        if found == file.checksum:
            return
        part.truncate(0)
        failures.append(f"{urlsplit(url).netloc}: the checksum is {found}")
        if leftover:  # the leftover may be at fault, so this source gets a fresh start
            sources.insert(0, url)
    raise _unavailable(file, root, "; ".join(failures))


def _unavailable(file: RemoteFile, root: Path, reasons: str) -> DownloadError:
    """Says what is missing and why, how to get it by hand, and what runs without it."""
    return DownloadError(
        f"{file.name} is not in {root.resolve()} and could not be downloaded "
        f"({' '.join(reasons.split())}).\n"
        f"By hand: put {' or '.join(file.urls)} ({file.size:,} bytes, {file.checksum}) there as "
        f"{file.name}.\n"
        f"Without network: `{typed()} dataset=digits` runs on data that needs no download."
    )


def _fill(file: RemoteFile, part: io.BufferedRandom, url: str) -> None:
    """Append the missing bytes; reconnect after a lost connection as long as bytes arrive."""
    if _size(part) > file.size:
        part.truncate(0)
    while (start := _size(part)) < file.size:
        try:
            _append(file, part, url, start)
        except (OSError, http.client.HTTPException):
            if _size(part) <= start:
                raise


def _append(file: RemoteFile, part: io.BufferedRandom, url: str, start: int) -> None:
    """Request the bytes from `start` on, once, and write those that arrive."""
    headers = {"User-Agent": "vicinal"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        if resumed and not response.headers["Content-Range"].startswith(f"bytes {start}-"):
            raise OSError(f"asked for byte {start}, got {response.headers['Content-Range']}")
        missing = file.size - start if resumed else file.size
        if response.headers.get("Content-Length", str(missing)) != str(missing):
            offered = response.headers["Content-Length"]
            raise OSError(f"offers {offered} bytes where {missing} are expected")
        if not resumed:
            part.truncate(0)
        while block := response.read1(1 << 20):
            missing -= len(block)
            if missing < 0:
                raise OSError(f"sends more than the expected {file.size} bytes")
            part.write(block)
            _show_progress(file, file.size - missing)
    if missing:
        raise OSError(f"cut off {missing} bytes before the end")


def _show_progress(file: RemoteFile, done: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == file.size else ""
        megabytes = f"{done / 1e6:,.1f} / {file.size / 1e6:,.1f} MB"
        print(f"\r{file.name} {megabytes}", end=end, file=sys.stderr, flush=True)
