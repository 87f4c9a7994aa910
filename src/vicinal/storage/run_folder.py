"""The folder of one run: its lock, its checkpoints, its history and its record."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

from torch import Tensor, nn

from vicinal.contracts import Resumable
from vicinal.errors import BusyError, RunError
from vicinal.machine import ranks
from vicinal.storage import weights
from vicinal.storage.checkpoints import Checkpoints
from vicinal.storage.files import remove_leftovers, sync, write_json_atomically
from vicinal.storage.history import Jsonl
from vicinal.storage.locks import lock
from vicinal.storage.records import best_epochs, read_if_there

ASK_EVERY = 50  # steps between two times that ranks agree whether a checkpoint is due


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder; if another process holds it, refuse and name that process.

    The system releases the lock however its holder dies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            lock(file, wait=False)
        except BlockingIOError:
            file.seek(0)
            raise BusyError(f"{folder} is in use by {file.read().strip()}; not started") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        remove_leftovers(folder)
        yield


@dataclass
class RunFolder:
    """The state of a run on disk. The caller holds the lock.

    All ranks make the same calls; rank zero reads and writes.
    """

    path: Path
    checkpoint_seconds: float
    fingerprint: dict[str, str]
    replaced: dict[str, str] = field(default_factory=dict)  # corrupt files of the data, see Data
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # weights, by report
    sessions: list[dict[str, Any]] = field(
        default_factory=list
    )  # each start of the run, and its origin
    saved_at: str | None = None  # when the checkpoint that the run continues from was written
    _saved_at: float = field(default_factory=monotonic)

    def resume(self, training: Resumable, session: dict[str, Any]) -> bool:
        """Continue from the newest undamaged checkpoint; whether there is one."""
        state = ranks.broadcast_object(self.checkpoints.load)
        if state is not None:
            if state["fingerprint"] != self.fingerprint:
                raise RunError(
                    f"{self.path} was begun on other data (its fingerprint differs); "
                    "use that data, or delete the folder to begin again"
                )
            if "best" not in state:
                raise RunError(
                    f"{self.path} was begun by a version that kept no weights of the best epochs; "
                    "finish it with that version, or delete the folder to begin again"
                )
            training.restore(state["loop"])
            self.history, self.sessions = state["history"], state["sessions"]
            self.best = state["best"]
            self.saved_at = state.get("saved_at", "an earlier version")
            self.replaced.update(state.get("replaced", {}))
        self.sessions.append({"from_step": training.steps_done, **session})
        return state is not None

    @property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints."""
        return Checkpoints(self.path / "checkpoints")

    def asks(self, training: Resumable) -> bool:
        """Whether to call `save_if_due` after this step: ranks communicate only now and then."""
        often = ranks.world_size() == 1 or self.checkpoint_seconds == 0
        return often or training.steps_done % ASK_EVERY == 0

    def save_if_due(self, training: Resumable) -> None:
        """Save a checkpoint if the last one is old enough."""
        if ranks.broadcast_object(lambda: monotonic() - self._saved_at >= self.checkpoint_seconds):
            self.save(training)

    def save(self, training: Resumable) -> None:
        """Save a checkpoint, unless the weights are not finite."""
        training.check_weights()
        self._gather_replaced()
        state = {
            "loop": training.state(),
            "history": self.history,
            "best": self.best,
            "sessions": self.sessions,
            "fingerprint": self.fingerprint,
            "replaced": dict(self.replaced),
            "saved_at": f"{datetime.now():%Y-%m-%d %H:%M}",
        }
        if ranks.is_main():
            self.checkpoints.save(training.epoch, training.steps_done, state)
        self._saved_at = monotonic()

    def _gather_replaced(self) -> None:
        """Gather the corrupt files that other ranks replaced; rank zero reports new ones."""
        for others in ranks.all_gather_object(dict(self.replaced)):
            for file in others.keys() - self.replaced.keys():
                self.replaced[file] = others[file]
                if ranks.is_main():
                    print(others[file], file=sys.stderr)

    def log(self, values: dict[str, float], network: nn.Module) -> None:
        """Add an epoch to the history; keep the network's weights if they are the best so far."""
        self.history.append(values)
        if ranks.is_main():
            for report, epoch in best_epochs(self.history).items():
                if epoch is values:
                    self.best[report] = weights.snapshot(network)
            Jsonl(self.path / "history.jsonl").sync(self.history)

    def keep_weights(self, network: nn.Module, words: dict[str, Any]) -> dict[str, Any]:
        """Write the weights of every report after the last epoch; return their record entry."""
        epochs = {report: epoch["epoch"] for report, epoch in best_epochs(self.history).items()}
        kept: dict[str, Any] = {}
        for report, tensors in {"last": weights.snapshot(network), **self.best}.items():
            origin = {"reading": report, "epoch": epochs.get(report, self.history[-1]["epoch"])}
            checksum = weights.write(self.path, report, tensors, words | origin)
            kept[report] = {"epoch": origin["epoch"], "sha256": checksum}
        return kept


def forget_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a finished run: its weights are kept, and are much smaller."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a finished run, or None."""
    return read_if_there(folder / "record.json")


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write the record, which marks a run as finished, after its history is on disk."""
    if (history := folder / "history.jsonl").exists():
        sync(history)
    write_json_atomically(folder / "record.json", record)
