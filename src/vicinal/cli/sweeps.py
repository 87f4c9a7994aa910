"""Sweeps: which sweeper runs them, whether it searches, what is left to read of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hydra._internal.core_plugins.basic_sweeper import BasicSweeperConf
from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf

EXHAUSTIVE = ("basic", "table")  # sweepers that run all they are told to
SWEEPER = "hydra_plugins.vicinal_sweepers.plain_sweeper.PlainSweeper"


def choose_sweeper(own_configs: bool) -> None:
    """Have `hydra/sweeper: basic`, the default, be our sweeper for configs of ours.

    A default in our config would win over what its tables and the configs of users choose.
    """
    Plugins.instance()  # stores Hydra's own under this name
    node = BasicSweeperConf(_target_=SWEEPER) if own_configs else BasicSweeperConf
    ConfigStore.instance().store("basic", node, group="hydra/sweeper", provider="hydra")


@dataclass(frozen=True)
class Search:
    """A sweep that optimises what its runs return."""

    sweeper: str
    directions: tuple[str, ...]  # maximize or minimize; none if the sweeper has no such setting


def search_of(job: HydraConf) -> Search | None:
    """The search that a job belongs to, if its sweeper is one that searches."""
    sweeper = str(job.runtime.choices.get("hydra/sweeper"))
    if job.mode is not RunMode.MULTIRUN or sweeper in EXHAUSTIVE:
        return None
    found = OmegaConf.select(OmegaConf.create(job.sweeper), "direction")
    each = [] if found is None else found if isinstance(found, ListConfig) else [found]
    return Search(sweeper, tuple(getattr(one, "name", str(one)) for one in each))


@dataclass
class Remembering(Launcher):
    """A launcher whose jobs' returns can be read after a job has failed the sweep."""

    launcher: Launcher
    returns: list[JobReturn] = field(default_factory=list)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.launcher.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Launch a batch of jobs."""
        found = self.launcher.launch(job_overrides, initial_job_idx)
        self.returns += found
        return found
