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
    """The last two checkpoints of a run; each file name ends in the checksum of its content."""

    folder: Path

    def paths(self) -> list[Path]:
        """The files, newest first; their names begin with the padded epoch and step, to sort."""
        return sorted(self.folder.glob("epoch*.pt"), reverse=True)

    def save(self, epoch: int, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint; under their final names there are only whole files at any time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        # Both, because the step is the same before and after the end of an epoch is processed.
        path = self.folder / f"epoch{epoch:05d}-step{step:010d}-{_checksum(content)}.pt"
        write_bytes_atomically(path, content)
        for old in self.paths()[KEEP:]:
            old.unlink()

    def load(self) -> dict[str, Any] | None:
        """Load the newest undamaged checkpoint; None if the run has none yet."""
        found = self.paths()
        for state in self._readable(found):
            return state
        if found:
            raise RunError(
                f"none of the {len(found)} checkpoints in {self.folder} can be read; "
                "delete that folder to start the run over"
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
            except Exception:  # a file that is not our checkpoint may raise anything
                state = None
            if isinstance(state, dict):
                yield state
            else:
                print(
                    f"{path} is not a checkpoint, or holds more than tensors; not opened, not used",
                    file=sys.stderr,
                )


def _checksum(content: bytes) -> str:
    return checksum(content)[:16]
