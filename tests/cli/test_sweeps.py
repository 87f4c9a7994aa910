"""Which sweeper runs a sweep, and whether it searches."""

from hydra.conf import HydraConf
from hydra.types import RunMode
from omegaconf import OmegaConf

from vicinal.cli.configs import compose
from vicinal.cli.sweeps import SWEEPER, Search, choose_sweeper, search_of

HYDRAS = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
OPTUNA = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"


def test_plain_sweeps_are_ours_and_whatever_else_is_chosen_stays() -> None:
    """As tables, and configs of users, choose it: within their own defaults."""
    choose_sweeper(own_configs=True)
    table = "hydra_plugins.vicinal_sweepers.table_sweeper.TableSweeper"
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
