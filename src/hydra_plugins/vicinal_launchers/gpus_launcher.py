"""`hydra/launcher=gpus`: the runs of a sweep side by side on the GPUs or cores of this machine.

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


class GpusLauncher(Launcher):
    """Starts a run as soon as there is a place for it; one that fails leaves its place to the next.

    Each is the process that `train.py` with its settings would be; its output goes to a log file.
    """

    def __init__(self, per_gpu: Any = None, gpus: Any = None, mps: Any = None) -> None:
        self.settings = {"per_gpu": per_gpu, "gpus": gpus, "mps": mps}
        self.launching: Launching | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from vicinal.launching.lines import task_name  # noqa: PLC0415
        from vicinal.launching.local import on_this_machine  # noqa: PLC0415
        from vicinal.launching.settings import Settings  # noqa: PLC0415

        settings = Settings(**self.settings)
        settings.check(config)
        self.launching = on_this_machine(settings, config, task_name(task_function))

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        assert self.launching is not None
        return self.launching.launch(job_overrides)
