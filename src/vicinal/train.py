"""One run: compose its config, check it, build the run that it describes, and execute it."""

from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vicinal.cli.configs import build, check, recorded
from vicinal.cli.garbage import uncollected
from vicinal.cli.launch import check_launcher, silence_other_ranks
from vicinal.cli.main import start
from vicinal.cli.sweeps import Search, search_of
from vicinal.errors import RunError
from vicinal.machine import slurm

if TYPE_CHECKING:
    from vicinal.run import Run


def main() -> None:
    """Execute the run, or the sweep of runs, that the command line composes."""
    start(execute)


def execute(config: DictConfig, search: Search | None = None) -> float:
    """Check a composed config, build the run and execute it; the score that a sweeper optimises.

    `search` is the one of another process's sweeper, to which the run belongs.
    """
    job = HydraConfig.get()
    choices = job.runtime.choices
    if choices.get("table"):
        raise RunError(
            f"table={choices['table']} is a plan of many runs: start it with -m, and with no "
            "sweeper but its own"
        )
    with uncollected():
        check(config, choices, job.overrides.task)
        run: Run = build(config)
    if OmegaConf.select(config, "runtime.slurm"):
        slurm.become_rank()
        silence_other_ranks()
    check_launcher(choices, sweep=job.mode is RunMode.MULTIRUN)
    ours = {k: v for k, v in choices.items() if v is not None and not k.startswith("hydra/")}
    return run.execute(recorded(config), ours, search or search_of(job))


if __name__ == "__main__":
    main()
