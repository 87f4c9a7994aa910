"""A run's ranks and launcher, as the environment names them before torch is imported."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vicinal.errors import RunError
from vicinal.machine import slurm


def num_ranks() -> int:
    """The world size that torchrun or `slurm` sets."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's rank."""
    return int(os.environ.get("RANK", "0")) if num_ranks() > 1 else 0


def silence_other_ranks() -> None:
    """Let only rank zero print."""
    if rank() > 0:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (open until the process exits)


def leave_ranks() -> None:
    """Leave the process group, if there is one."""
    if num_ranks() > 1:
        from vicinal.machine.ranks import leave  # noqa: PLC0415 (imports torch)

        leave()


def check_launcher(choices: Mapping[str, Any], sweep: bool) -> None:
    """Refuse launchers whose jobs would not be the ranks of one run."""
    submitted, launcher = slurm.num_submitted(), choices.get("hydra/launcher")
    if submitted > 1 and num_ranks() == 1:
        raise RunError(
            f"runtime must be slurm if hydra.launcher starts {submitted} tasks per run, "
            f"got {choices.get('runtime')}"
        )
    if sweep and num_ranks() > 1 and not submitted and launcher != "basic":
        raise RunError(
            f"hydra/launcher must be basic under torchrun or srun, got {launcher} "
            "(all ranks train one run after the other together)"
        )
