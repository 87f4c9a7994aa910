"""The contract of loggers, which show a run elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


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


@runtime_checkable
class Logger(Protocol):
    """Shows a run elsewhere. The JSONL history is the reference, so a logger may lose data."""

    def start(self, run: RunIdentity) -> None:
        """Called once, before the first epoch."""
        ...

    def log(self, epoch: int, values: dict[str, float]) -> None:
        """Called at the end of each epoch; the first epoch is 1."""
        ...

    def finish(self, record: dict[str, Any]) -> None:
        """Called with the run's record once its evaluations are measured, unless it ends early."""
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
