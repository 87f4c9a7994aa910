"""What `hydra.launcher` says of `hydra/launcher=gpus` and `hydra/launcher=ray`."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from omegaconf import DictConfig, OmegaConf

from vicinal.cli.launch import num_ranks
from vicinal.errors import RunError


@dataclass(frozen=True)
class Settings:
    """How many runs there are at a time, and where."""

    per_gpu: int | None = None  # None: as many as pay; on CPUs one per core
    gpus: Sequence[int] | None = None  # None: all that are visible; none at all: CPUs
    mps: bool | None = None  # None: where it helps

    def check(self, config: DictConfig) -> None:
        """Refuse what cannot be, in one line."""
        _refuse_ranks(config, "gpus")
        if self.per_gpu is not None and not (_is_count(self.per_gpu) and self.per_gpu > 0):
            raise RunError(
                f"hydra.launcher.per_gpu must be null or a whole number above 0, got {self.per_gpu}"
            )
        if self.gpus is not None:
            several = isinstance(self.gpus, Sequence) and not isinstance(self.gpus, str)
            if not several or not all(map(_is_count, self.gpus)):
                raise RunError(
                    f"hydra.launcher.gpus must be null or a list like [0,1], got {self.gpus}"
                )
            if self.gpus and OmegaConf.select(config, "runtime.device") == "cpu":
                raise RunError(
                    f"hydra.launcher.gpus must be null or [] with runtime=cpu, got {self.gpus}"
                )
        if self.mps is not None and not isinstance(self.mps, bool):
            raise RunError(f"hydra.launcher.mps must be true, false or null, got {self.mps}")


@dataclass(frozen=True)
class ClusterSettings:
    """Which Ray cluster runs go to, and what each takes of it."""

    address: str
    cpus: float  # of each run
    gpus: float | None  # None: one where nodes have any
    retries: int  # of a run whose node dies; -1: any number
    patience: float  # seconds for another process to leave a run

    def check(self, config: DictConfig) -> None:
        """Refuse what cannot be, in one line."""
        _refuse_ranks(config, "ray")
        if not isinstance(self.address, str):
            raise RunError(f"hydra.launcher.address must be auto or HOST:PORT, got {self.address}")
        if not (_is_amount(self.cpus) and self.cpus > 0):
            raise RunError(f"hydra.launcher.cpus must be a number above 0, got {self.cpus}")
        if self.gpus is not None and not _is_amount(self.gpus):
            raise RunError(
                f"hydra.launcher.gpus must be null or a number, 0 or above, got {self.gpus}"
            )
        if not (_is_count(self.retries) or self.retries == -1):
            raise RunError(
                "hydra.launcher.retries must be a whole number, or -1 for any number, "
                f"got {self.retries}"
            )
        if not _is_amount(self.patience):
            raise RunError(
                f"hydra.launcher.patience must be a number of seconds, got {self.patience}"
            )


def _refuse_ranks(config: DictConfig, launcher: str) -> None:
    if num_ranks() > 1 or OmegaConf.select(config, "runtime.slurm"):
        raise RunError(
            f"hydra/launcher must be basic under torchrun or srun, got {launcher} "
            "(all ranks train one run after the other together)"
        )


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
