"""The tasks of a Slurm step as ranks: srun's environment variables as those of torchrun."""

import os
import re

from vicinal.errors import RunError

# Set in steps only; a batch script, which is one process, has SLURM_NTASKS and SLURM_PROCID, too.
TASKS = "SLURM_STEP_NUM_TASKS"
_PORTS = range(10000, 30000)  # below the ephemeral ports


def become_rank() -> None:
    """Set torchrun's variables for this task of srun; keep MASTER_ADDR and MASTER_PORT if set."""
    if TASKS not in os.environ:
        raise RunError(
            "runtime.slurm must be false outside a Slurm step, got true "
            "(start it with srun, or with hydra/launcher=submitit_slurm)"
        )
    counted = {"RANK": "SLURM_PROCID", "LOCAL_RANK": "SLURM_LOCALID", "WORLD_SIZE": TASKS}
    for name, word in counted.items():
        if os.environ.setdefault(name, os.environ[word]) != os.environ[word]:
            raise RunError(
                f"runtime.slurm must be false under torchrun, got true ({name} is "
                f"{os.environ[name]}, but {word} is {os.environ[word]})"
            )
    os.environ.setdefault("MASTER_ADDR", first_host(os.environ["SLURM_STEP_NODELIST"]))
    os.environ.setdefault("MASTER_PORT", str(_port()))


def num_submitted() -> int:
    """The number of tasks of the submitit job that runs this process; 0 outside one."""
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return 0
    return int(os.environ.get(TASKS, "1"))


def first_host(nodes: str) -> str:
    """The first host of a list in Slurm's notation: gpu07 in `gpu[07-12,20],big1`."""
    first = re.match(r"(?:[^,\[]|\[[^]]*\])+", nodes)
    assert first is not None
    return re.sub(r"\[([^],-]+)[^]]*\]", r"\1", first[0])


def _port() -> int:
    """A port per step: the same on all its nodes, usually different for other jobs."""
    number = 31 * int(os.environ["SLURM_JOB_ID"]) + int(os.environ["SLURM_STEP_ID"])
    return _PORTS[number % len(_PORTS)]
