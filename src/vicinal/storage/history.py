"""The history of a run: one line of JSON per epoch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicinal.storage.files import write_bytes_atomically


@dataclass(frozen=True)
class Jsonl:
    """Keeps a file equal to a history, also after a crash."""

    path: Path

    def sync(self, history: list[dict[str, Any]]) -> None:
        """Append the missing lines; rewrite a file that differs atomically.

        A half-written last line is a prefix of the history, too, so appending completes it. The
        file differs where a run went on after the checkpoint that it now resumes from. Nothing
        waits for the disk: checkpoints hold the history, which restores lines lost in a power cut.
        """
        lines = [json.dumps(epoch, sort_keys=True, allow_nan=False) for epoch in history]
        wanted = "".join(f"{line}\n" for line in lines).encode()
        present = self.path.read_bytes() if self.path.exists() else b""
        if not wanted.startswith(present):
            write_bytes_atomically(self.path, wanted)
        elif len(present) < len(wanted):
            with self.path.open("ab") as file:
                file.write(wanted[len(present) :])
