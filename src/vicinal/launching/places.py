"""Where runs may be started."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vicinal.launching.jobs import Job


@dataclass(frozen=True)
class Place:
    """Where a run is started."""

    device: int | None = None  # the GPU, by its place among the launcher's; None: a CPU
    environment: Mapping[str, str] = field(default_factory=lambda: {"CUDA_VISIBLE_DEVICES": ""})


class Places(Protocol):
    """What a launcher asks before it starts a job."""

    def device(self, jobs: Sequence[Job], now: float) -> Place | None:
        """Where the next job may start; None if it has to wait."""
        ...

    def ended(self, job: Job, jobs: Sequence[Job]) -> bool:
        """Whether a job that has failed is to be started again, as others were in its way."""
        ...


@dataclass(frozen=True)
class Cores:
    """A machine's CPU cores, for so many runs at a time."""

    count: int

    def device(self, jobs: Sequence[Job], now: float) -> Place | None:
        """Any core, while there are fewer runs than that."""
        return Place() if sum(job.running for job in jobs) < self.count else None

    def ended(self, job: Job, jobs: Sequence[Job]) -> bool:
        """Never."""
        return False
