"""`python train.py -m table=PAPER/TABLE`: launch what is missing of a paper's tables.

Hydra imports this file at every start, so whatever is heavy is imported when a table is planned.
"""

import logging
from collections.abc import Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


class TableSweeper(Sweeper):
    """Skips finished runs, resumes unfinished ones; goes on after a failure, named at the end.

    `table=A,B` and `table=glob(mixup/*)` are one plan. Overrides beside it apply to every cell:
    `seed=` chooses the seeds; those that change the experiment (`schedule.epochs=30`) mark its
    records as reduced. `+only=[CIFAR-10,mixup]` keeps the cells with these labels, `+dry_run=true`
    prints the plan.
    Each run holds a lock on its folder, so two processes with one plan share the work.
    """

    def __init__(self, max_batch_size: int | None = None) -> None:
        self.max_batch_size = max_batch_size  # jobs that the launcher is given at a time
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.context: HydraContext | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config, self.context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from vicinal.errors import RunError  # noqa: PLC0415
        from vicinal.tables.sweep import Sweep, further  # noqa: PLC0415
        from vicinal.tables.table import Table  # noqa: PLC0415

        more = further(arguments)
        tables = [Table(name, self._tree(name)) for name in more.tables]
        sweep = Sweep(tables, more, self._compose)
        print(sweep.plan())
        if more.dry_run:
            return
        jobs = [job.line for job in sweep.left]
        step = self.max_batch_size or max(len(jobs), 1)
        for start in range(0, len(jobs), step):
            self._launch(jobs[start : start + step], start, sweep)
        print(sweep.outcome())
        if sweep.failures:
            listed = "\n  ".join(sweep.failures)
            raise RunError(f"{len(sweep.failures)} of {len(jobs)} runs failed:\n  {listed}")

    def _tree(self, name: str) -> Any:
        return OmegaConf.to_container(self._compose([f"table={name}"]).table)

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        assert self.context is not None
        assert self.config is not None
        return self.context.config_loader.load_sweep_config(self.config, list(overrides))

    def _launch(self, jobs: Sequence[Sequence[str]], start: int, sweep: Any) -> None:
        assert self.launcher is not None
        for job, done in zip(jobs, self.launcher.launch(jobs, start), strict=True):
            try:
                _ = done.return_value  # raises what the job raised
            except Exception as error:
                sweep.note(job, error)
