"""The contract of loggers, which show a run elsewhere."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

# Footnotes by which labels of one table differ, as words.
MARKS = str.maketrans({"\u2020": " dagger", "*": " star"})


@dataclass(frozen=True)
class RunIdentity:
    """One run, as loggers show it."""

    id: str  # includes the seed; the same when the run resumes
    name: str
    group: str  # the id without the seed
    config: dict[str, Any]
    folder: Path
    resumed: bool

    @classmethod
    def of(cls, record: Mapping[str, Any], folder: Path, resumed: bool) -> "RunIdentity":
        """That of a record, or of the part of one that is known when a run starts."""
        return cls(
            id=f"{record['id']}-{record['seed']}",
            name=f"{record['name']}/seed{record['seed']}",
            group=record["id"],
            config=record["config"],
            folder=folder,
            resumed=resumed,
        )


@dataclass(frozen=True)
class Beside:
    """A number that a paper prints, and ours of the runs so far."""

    table: str  # PAPER/TABLE
    label: str  # of its row and column
    paper: float
    ours: float
    note: str = ""  # how ours was reduced, if it was

    @property
    def difference(self) -> float:
        """Ours minus the paper's."""
        return self.ours - self.paper

    @property
    def key(self) -> str:
        """A name for dashboards, of letters, digits and underscores, with a / between its parts."""
        label = self.label.translate(MARKS)
        parts = ("papers", *self.table.split("/"), label)
        return "/".join(re.sub(r"[^A-Za-z0-9]+", "_", part).strip("_") for part in parts)

    @property
    def numbers(self) -> dict[str, float]:
        """The paper's, ours and the difference, each under its name."""
        found = {"paper": self.paper, "ours": self.ours, "difference": self.difference}
        return {f"{self.key}/{name}": value for name, value in found.items()}


@runtime_checkable
class Logger(Protocol):
    """Shows a run elsewhere. The JSONL history is the reference, so a logger may lose data."""

    @property
    def place(self) -> str:
        """Where it shows runs, in one line; a run is shown once per place. Empty for nowhere."""
        ...

    def start(self, run: RunIdentity) -> None:
        """Called once, before the first epoch."""
        ...

    def log(self, epoch: int, values: dict[str, float]) -> None:
        """Called at the end of each epoch; the first epoch is 1."""
        ...

    def finish(self, record: dict[str, Any], beside: Sequence[Beside]) -> bool:
        """Called with the run's record once its evaluations are measured, unless it ends early.

        `beside` are printed numbers that it stands beside. Returns whether all of the run is shown.
        """
        ...


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Flatten the numbers in nested dicts: {"last": {"top1": 93.4}} becomes "last/top1"."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            found[f"{prefix}{name}"] = value
    return found
