"""Checkpoints that survive being killed, cut short, or damaged on disk."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from vicinal.errors import RunError
from vicinal.storage.files import checksum, write_bytes_atomically

KEEP = 2


@dataclass(frozen=True)
class Checkpoints:
    """The last two of a run, newest first; each file's name ends in its own checksum."""

    folder: Path

    def paths(self) -> list[Path]:
        """Newest first; the place in the run stands first in the name, padded to sort."""
        return sorted(self.folder.glob("epoch*.pt"), reverse=True)

    def save(self, epoch: int, step: int, state: dict[str, Any]) -> None:
        """At every instant the folder holds only whole files, under their final names."""
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        # Both: the step alone does not tell the end of an epoch from just before it is closed.
        path = self.folder / f"epoch{epoch:05d}-step{step:010d}-{_checksum(content)}.pt"
        write_bytes_atomically(path, content)
        for old in self.paths()[KEEP:]:
            old.unlink()

    def load(self) -> dict[str, Any] | None:
        """The newest that is whole, or None when the run has none yet."""
        found = self.paths()
        for state in self._readable(found):
            return state
        if found:
            raise RunError(
                f"none of the {len(found)} checkpoints in {self.folder} can be read; "
                "the run will not start over by itself: delete that folder to let it"
            )
        return None

    def _readable(self, found: list[Path]) -> Iterator[dict[str, Any]]:
        for path in found:
            try:
                content = path.read_bytes()
            except OSError as error:  # a bad sector
                print(f"{path} is damaged ({error.strerror}); not used", file=sys.stderr)
                continue
            if _checksum(content) != path.stem.split("-")[-1]:
                print(f"{path} is damaged (its checksum differs); not used", file=sys.stderr)
                continue
            try:
                state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
            except Exception:  # what never was a checkpoint of ours may raise anything
                state = None
            if isinstance(state, dict):
                yield state
            else:
                print(
                    f"{path} is no checkpoint, or holds more than tensors; not opened, not used",
                    file=sys.stderr,
                )


def _checksum(content: bytes) -> str:
    return checksum(content)[:16]
