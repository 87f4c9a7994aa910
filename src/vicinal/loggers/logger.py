"""What a run tells a logger."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class RunIdentity:
    """One run, as loggers show it."""

    id: str  # of the run with its seed; the same when the run resumes
    name: str
    group: str  # the id without the seed
    config: dict[str, Any]
    folder: Path
    resumed: bool


@runtime_checkable
class Logger(Protocol):
    """Shows a run elsewhere. The truth is the JSONL history, so a logger may lose everything."""

    def start(self, run: RunIdentity) -> None:
        """Once, before the first epoch."""
        ...

    def log(self, epoch: int, values: dict[str, float]) -> None:
        """At the end of each epoch; the first epoch is 1."""
        ...

    def finish(self, record: dict[str, Any]) -> None:
        """Once, with the run's record; a run that ends early never calls it."""
        ...


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers in nested dicts, by their path: {"last": {"top1": 93.4}} is "last/top1"."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            found[f"{prefix}{name}"] = value
    return found
