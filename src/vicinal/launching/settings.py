"""What `hydra.launcher` says of `hydra/launcher=gpus`."""

from collections.abc import Sequence
from dataclasses import dataclass

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
        if num_ranks() > 1 or OmegaConf.select(config, "runtime.slurm"):
            raise RunError(
                "hydra/launcher must be basic under torchrun or srun, got gpus "
                "(all ranks train one run after the other together)"
            )
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


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
