"""The tasks of a Slurm step as ranks: what srun tells each, in the words of torchrun."""

import os
import re

from vicinal.errors import RunError

# Of a step alone: a batch script is one process, and has SLURM_NTASKS and SLURM_PROCID as well.
TASKS = "SLURM_STEP_NUM_TASKS"
_PORTS = range(10000, 30000)  # below those that systems give to clients


def become_rank() -> None:
    """Set what torchrun would for this process of srun's; where ranks meet may be set already."""
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
    """How many tasks the job has in which submitit runs this process; 0 outside one."""
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return 0
    return int(os.environ.get(TASKS, "1"))


def first_host(nodes: str) -> str:
    """Of a list as Slurm writes it: `gpu[07-12,20],big1` begins with gpu07."""
    first = re.match(r"(?:[^,\[]|\[[^]]*\])+", nodes)
    assert first is not None
    return re.sub(r"\[([^],-]+)[^]]*\]", r"\1", first[0])


def _port() -> int:
    """One for each step: the same on all its nodes, another for the jobs beside it."""
    number = 31 * int(os.environ["SLURM_JOB_ID"]) + int(os.environ["SLURM_STEP_ID"])
    return _PORTS[number % len(_PORTS)]
