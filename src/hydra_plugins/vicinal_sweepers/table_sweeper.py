"""`python train.py -m table=NAME`: launch the missing runs of a paper's tables, or one's own.

Hydra imports this file at every start, so heavy modules are imported only to plan a table.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from vicinal.tables.plan import Composed
    from vicinal.tables.sweep import Sweep

log = logging.getLogger(__name__)


class TableSweeper(Sweeper):
    """Skips finished runs and resumes unfinished ones; lists failures at the end.

    `table=A,B` and `table=glob(mixup/*)` are one plan. Overrides beside it apply to every cell:
    `seed=` chooses the seeds; those that change the experiment (`schedule.epochs=30`) mark its
    records as reduced. `+only=[CIFAR-10,mixup]` keeps the cells with these labels, `+dry_run=true`
    prints the plan, `+runs=true` every run of several tables, `+hours=8 +gpus=4` keeps the most
    valuable runs that fit, `+evaluation.deformed.batch_size=100` is a setting of an evaluation.
    Each run holds a lock on its folder, so two processes with the same plan share the work.
    """

    def __init__(self, max_batch_size: int | None = None) -> None:
        self.max_batch_size = max_batch_size  # jobs handed to the launcher at a time
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
        from vicinal.cli.garbage import uncollected  # noqa: PLC0415
        from vicinal.errors import RunError  # noqa: PLC0415

        with uncollected():
            sweep = self._planned(arguments)
            print(sweep.plan())
        if sweep.request.dry_run:
            return
        launched = 0
        assert self.config is not None
        one_by_one = self.config.hydra.runtime.choices["hydra/launcher"] == "basic"
        for stage in sweep.stages(longest_first=not one_by_one):
            step = self.max_batch_size or max(len(stage), 1)
            for start in range(0, len(stage), step):
                self._launch(stage[start : start + step], launched, sweep)
                launched += len(stage[start : start + step])
        print(sweep.summary())
        print(sweep.numbers(), end="")
        if sweep.failures:
            failures = "\n  ".join(sweep.failures)
            raise RunError(
                f"{len(sweep.failures)} of {len(sweep.unfinished)} runs failed:\n  {failures}"
            )

    def _planned(self, arguments: list[str]) -> "Sweep":
        from vicinal.tables.request import parse_request  # noqa: PLC0415
        from vicinal.tables.sweep import Sweep  # noqa: PLC0415
        from vicinal.tables.table import load  # noqa: PLC0415

        self._search_folders()
        request = parse_request(arguments)
        return Sweep([load(name) for name in request.tables], request, self._composed)

    def _composed(self, overrides: Sequence[str]) -> "Composed":
        from vicinal.tables.plan import composed  # noqa: PLC0415

        return composed(overrides, self._compose)

    def _search_folders(self) -> None:
        """Plan with the configs of other folders, too."""
        from vicinal.cli.search import search  # noqa: PLC0415

        assert self.config is not None
        for source in self.config.hydra.runtime.config_sources:
            if source.provider not in ("hydra", "main", "schema"):
                search(f"{source.schema}://{source.path}")

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        assert self.context is not None
        assert self.config is not None
        return self.context.config_loader.load_sweep_config(self.config, list(overrides))

    def _launch(self, jobs: Sequence[Any], start: int, sweep: Any) -> None:
        assert self.launcher is not None
        results = self.launcher.launch([overrides for _, overrides in jobs], start)
        for (job, overrides), result in zip(jobs, results, strict=True):
            try:
                _ = result.return_value  # raises what the job raised
            except Exception as error:
                sweep.record_failure(job, overrides, error)
