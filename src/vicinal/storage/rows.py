"""Tables of numbers that grow row by row: tab-separated, under a header."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from vicinal.storage.files import sync

SECONDS = "time"  # the column that is written as h:mm:ss.ffffff


@dataclass(frozen=True)
class Rows:
    """A file of rows; each is on disk before the next one is measured.

    Whole numbers are written without a point, others so that they read back exactly.
    """

    path: Path
    columns: tuple[str, ...]  # the first has a row's name, the others its numbers

    def recover(self) -> dict[str, dict[str, float]]:
        """The rows, by name, before the first that is cut off or damaged; cuts the file there."""
        content = self.path.read_bytes() if self.path.exists() else b""
        header, *lines = content.splitlines(keepends=True) or [b""]
        whole, found = header == _line(self.columns), dict[str, dict[str, float]]()
        end = len(header) if whole else 0
        for line in lines if whole else ():
            row = self._parsed(line)
            if row is None:
                break
            found |= row
            end += len(line)
        if end < len(content):
            os.truncate(self.path, end)
        return found

    def append(self, name: str, numbers: Mapping[str, float]) -> None:
        """Add a row, below the header if there is none yet."""
        self.path.parent.mkdir(exist_ok=True)
        try:
            with self.path.open("ab") as file:
                new = file.tell() == 0
                file.write((_line(self.columns) if new else b"") + self._row(name, numbers))
        except OSError as error:
            error.filename = error.filename or str(self.path)  # that of a full disk names no file
            raise
        sync(self.path)
        if new:
            sync(self.path.parent)

    def _row(self, name: str, numbers: Mapping[str, float]) -> bytes:
        return _line([name, *(_written(each, numbers[each]) for each in self.columns[1:])])

    def _parsed(self, line: bytes) -> dict[str, dict[str, float]] | None:
        """A row by its name; None unless it is just as we would write these numbers."""
        try:
            name, *values = line.decode().removesuffix("\n").split("\t")
            each = zip(self.columns[1:], values, strict=True)
            numbers = {column: _read(column, value) for column, value in each}
        except ValueError:
            return None
        right = all(map(isfinite, numbers.values())) and self._row(name, numbers) == line
        return {name: numbers} if right else None


def _line(values: tuple[str, ...] | list[str]) -> bytes:
    return ("\t".join(values) + "\n").encode()


def _written(column: str, value: float) -> str:
    if column == SECONDS:
        seconds, microseconds = divmod(round(value * 1_000_000), 1_000_000)
        minutes, seconds = divmod(seconds, 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}.{microseconds:06}"
    return str(int(value)) if float(value).is_integer() else repr(value)


def _read(column: str, text: str) -> float:
    if column == SECONDS:
        hours, minutes, seconds = text.split(":")
        return (int(hours) * 60 + int(minutes)) * 60 + float(seconds)
    return float(text)
