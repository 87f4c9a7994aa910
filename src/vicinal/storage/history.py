"""The history of a run: one line of JSON an epoch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicinal.storage.files import write_bytes_atomically


@dataclass(frozen=True)
class Jsonl:
    """Keeps a file equal to a history, whatever a crash left in it."""

    path: Path

    def sync(self, history: list[dict[str, Any]]) -> None:
        """Append what is missing; where the file says something else, rewrite it atomically.

        A half-written last line is a prefix as well, so appending completes it. Something else is
        what a run wrote after the checkpoint that it now resumed from. Nothing waits for the disk:
        checkpoints hold the history too, and what a power cut takes is written again from there.
        """
        lines = [json.dumps(epoch, sort_keys=True, allow_nan=False) for epoch in history]
        wanted = "".join(f"{line}\n" for line in lines).encode()
        present = self.path.read_bytes() if self.path.exists() else b""
        if not wanted.startswith(present):
            write_bytes_atomically(self.path, wanted)
        elif len(present) < len(wanted):
            with self.path.open("ab") as file:
                file.write(wanted[len(present) :])
