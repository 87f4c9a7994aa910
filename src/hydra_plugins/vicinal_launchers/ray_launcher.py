"""`hydra/launcher=ray`: the runs of a sweep on the nodes of a Ray cluster.

Hydra imports this file at every start, so the work is in `vicinal.launching`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from vicinal.launching.launcher import Launching


class RayLauncher(Launcher):
    """Each run is a task of Ray, and the process that `train.py` with its settings would be."""

    def __init__(self, address: Any, cpus: Any, gpus: Any, retries: Any, patience: Any) -> None:
        self.settings = {"address": address, "cpus": cpus, "gpus": gpus}
        self.settings |= {"retries": retries, "patience": patience}
        self.launching: Launching | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from vicinal.launching.cluster import on_cluster  # noqa: PLC0415
        from vicinal.launching.lines import task_name  # noqa: PLC0415
        from vicinal.launching.settings import ClusterSettings  # noqa: PLC0415

        settings = ClusterSettings(**self.settings)
        settings.check(config)
        self.launching = on_cluster(settings, config, task_name(task_function))

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        assert self.launching is not None
        return self.launching.launch(job_overrides)
