"""Which sweeper runs a sweep, whether it searches, and what Ctrl-C does to jobs in processes."""

import os
import signal

import pytest
from hydra.conf import HydraConf
from hydra.types import RunMode
from omegaconf import OmegaConf

from vicinal.cli.configs import compose
from vicinal.cli.sweeps import (
    SWEEPER,
    Search,
    Worker,
    choose_sweeper,
    in_workers,
    search_of,
    workers_first,
)
from vicinal.errors import RunError, StoppedByUserError

HYDRAS = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
OPTUNA = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"


pytestmark = pytest.mark.usefixtures("interrupts")


def test_plain_sweeps_are_ours_and_whatever_else_is_chosen_stays() -> None:
    """As tables, and configs of users, choose it: within their own defaults."""
    choose_sweeper(own_configs=True)
    table = "hydra_plugins.vicinal_table_sweeper.table_sweeper.TableSweeper"
    lines = {(): SWEEPER, ("table=mixup/figure3a",): table, ("hydra/sweeper=optuna",): OPTUNA}
    try:
        assert {line: _sweeper(*line) for line in lines} == lines
        settings = compose("hydra.sweeper.max_batch_size=2", with_hydra=True)
        assert settings.hydra.sweeper.max_batch_size == 2
    finally:
        choose_sweeper(own_configs=False)
    assert _sweeper() == HYDRAS  # of configs that are not ours, whose runs leave other records


def _sweeper(*overrides: str) -> str:
    return compose(*overrides, with_hydra=True).hydra.sweeper._target_


def job(sweeper: str, mode: RunMode = RunMode.MULTIRUN, **settings: object) -> HydraConf:
    """The Hydra node of a job in a sweep."""
    made = OmegaConf.structured(HydraConf)
    made.mode, made.sweeper = mode, settings
    made.runtime.choices = {"hydra/sweeper": sweeper}
    return made


def test_a_sweeper_that_optimises_is_told_from_one_that_runs_all() -> None:
    assert search_of(job("optuna", direction="maximize")) == Search("optuna", ("maximize",))
    both = ["maximize", "minimize"]
    assert search_of(job("optuna", direction=both)) == Search("optuna", ("maximize", "minimize"))
    assert search_of(job("nevergrad")) == Search("nevergrad", ())
    assert search_of(job("basic")) is None
    assert search_of(job("table")) is None
    assert search_of(job("optuna", RunMode.RUN, direction="minimize")) is None


def test_optunas_default_direction_is_read_as_it_writes_it() -> None:
    made = compose("hydra/sweeper=optuna", with_hydra=True).hydra
    made.mode = RunMode.MULTIRUN
    assert search_of(made) == Search("optuna", ("minimize",))


def test_only_joblib_has_processes_that_a_terminal_interrupts_beside_their_parent() -> None:
    launchers = ("basic", "joblib", "submitit_local", "submitit_slurm")
    assert [each for each in launchers if in_workers({"hydra/launcher": each})] == ["joblib"]


def test_the_parent_of_workers_waits_for_them_once() -> None:
    reached = list[str]()

    def interrupted(times: int, error: Exception | None = None) -> None:
        with workers_first(True):
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
                reached.append("waits")
            if error is not None:
                raise error

    for arguments in ((2,), (1, RunError("an idle worker ended")), (1,)):
        reached.clear()
        with pytest.raises(KeyboardInterrupt):
            interrupted(*arguments)
        assert reached == ["waits"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with workers_first(False):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoppedByUserError("in epoch 1")])
def test_a_worker_starts_no_job_after_one_was_interrupted(error: BaseException) -> None:
    def interrupted() -> float:
        raise error

    worker = Worker()
    worker.check()
    assert worker.execute(lambda: 1.0) == 1.0
    worker.check()
    with pytest.raises(StoppedByUserError):
        worker.execute(interrupted)
    with pytest.raises(StoppedByUserError, match="not started"):
        worker.check()
