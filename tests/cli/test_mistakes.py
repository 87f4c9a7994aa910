"""Every mistake in a config has its line, which names key, value, rule and reason."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from standins import compose_from, told

from vicinal.cli.explain import explain
from vicinal.cli.messages import listed


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "seed=3 out=elsewhere",
        "method=erm",
        "method=maxup_cutout method.copies=2",
        "vicinity@method.vicinity=cutout method.vicinity.fill=null",
        "method@warmup=erm warmup.vicinity.alpha=2",
        "+method.chunk=8",
        "dataset.mean=[0,1,0.5] +dataset.sources.second=3",
        "dataset=arrays dataset.root=/x",
        "out=\\'2024\\'".replace("\\", ""),
        "model.depth=10",
    ],
)
def test_what_constructors_take_passes(folder: Path, typed: str) -> None:
    assert told(folder, typed.split()) is None


METHODS = "erm, maxup_cutout, maxup_mixup"
ROOT = "dataset, method, model, out, results, seed"
MAXUP = "standins.MaxUp"


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        # names of options and groups
        (
            "method=maxup_mxiup",
            f"method=maxup_mxiup is not known; did you mean maxup_mixup? (known: {METHODS})",
        ),
        ("method=", f"method= is not known (known: {METHODS})"),
        ("method=3", "method must be one of its options, got 3"),
        ("method=null", "method must be one of its options, got null"),
        (
            "method=[erm,maxup_cutout]",
            "method must be one of its options, got [erm,maxup_cutout]",
        ),
        ("methd=erm", f"methd is not a setting; did you mean method? (settings: {ROOT})"),
        (
            "vicinity=mixup",
            "... 'vicinity'. Did you mean ... vicinity@method.vicinity?",
        ),
        (
            "vicinity@method.vicinty=cutout",
            "... 'vicinity@method.vicinty'. Did you mean ... vicinity@method.vicinity?",
        ),
        (
            "vicinty@method.vicinity=cutout",
            "... vicinty@method.vicinity=cutout ... group 'vicinty' does not exist.",
        ),
        ("+method=erm", "Multiple values for method. ..."),
        ("~method=erm", "... 'method=erm'. No match ..."),
        (
            "hydra/output=defualt",
            "hydra/output=defualt is not known; did you mean default? (known: default)",
        ),
        # names of settings
        (
            "method.copeis=3",
            f"method.copeis is not a setting of {MAXUP}; did you mean method.copies? "
            "(settings: chunk, copies, vicinity)",
        ),
        (
            "+method.copeis=3",
            f"method.copeis is not a setting of {MAXUP}; did you mean method.copies? "
            "(settings: chunk, copies, vicinity)",
        ),
        (
            "metod.copies=3",
            f"metod is not a setting; did you mean method.copies? (settings: {ROOT})",
        ),
        (
            "alpha=3",
            f"alpha is not a setting; did you mean method.vicinity.alpha? (settings: {ROOT})",
        ),
        ("+alpha=3", f"alpha is not a setting of standins.Run (settings: {ROOT}, warmup)"),
        ("method.chunk=3", "method.chunk is not in this config; add it with +method.chunk=3"),
        (
            "dataset.sources.second=3",
            "dataset.sources.second is not in this config; add it with +dataset.sources.second=3",
        ),
        (
            "dataset.sources={second: 3}",
            "dataset.sources.second is not in this config; "
            "add it with '+dataset.sources={second: 3}'",
        ),
        (
            "warmup.vicinity=3",
            "warmup is not in this config; choose one with method@warmup=NAME",
        ),
        ("seed.x=3", "seed.x is not a setting: seed is 0"),
        ("+seed=3", "... already at 'seed'."),
        ("~foo", f"foo is not a setting (settings: {ROOT})"),
        ("~seed=3", "... 'seed' is 0 and not 3."),
        (
            "~method",
            "method is missing; standins.Run needs it; choose one with method=NAME",
        ),
        ("~method.copies", f"method.copies is missing; {MAXUP} needs it"),
        ("dataset=arrays", "dataset.root must be given: dataset.root=VALUE"),
        # types
        ("seed=abc", "seed must be an integer, got 'abc'"),
        ("seed=", "seed must be an integer, got ''"),
        ("seed=true", "seed must be an integer, got true"),
        ("seed=1.0", "seed must be an integer, got 1.0"),
        ("seed=null", "seed must be an integer, got null"),
        ("seed=[1]", "seed must be an integer, got [1]"),
        ("method.vicinity.alpha=a", "method.vicinity.alpha must be a number, got 'a'"),
        ("method.vicinity.alpha=nan", "method.vicinity.alpha must be a number, got nan"),
        ("method.vicinity.alpha=-inf", "method.vicinity.alpha must be a number, got -inf"),
        ("method.vicinity.per=run", "method.vicinity.per must be batch or sample, got 'run'"),
        ("+method.chunk=a", "method.chunk must be an integer or null, got 'a'"),
        ("dataset.fetch=1", "dataset.fetch must be true or false, got 1"),
        ("dataset.mean=[1,2]", "dataset.mean must be a list of 3 values, got [1, 2]"),
        ("dataset.mean=[1,2,b]", "dataset.mean[2] must be a number, got 'b'"),
        ("dataset.mean=1", "dataset.mean must be a list [...], got 1"),
        ("dataset.sources.first=a", "dataset.sources.first must be an integer, got 'a'"),
        ("dataset.sources=1", "dataset.sources must be a mapping {key: value}, got 1"),
        ("out=2024", r"out must be text, got 2024 (as text: out=\'2024\')"),
        (
            "method.vicinity=cutout",
            "method.vicinity must be a config with a _target_, got 'cutout'; "
            "choose one with vicinity@method.vicinity=cutout",
        ),
        (
            "++warmup=erm",
            "warmup must be a config with a _target_ or null, got 'erm'; "
            "choose one with method@warmup=erm",
        ),
        (
            "~method.vicinity._target_",
            "method.vicinity must be a config with a _target_, got "
            "{'alpha': 1.0, 'per': 'batch'}; choose one with vicinity@method.vicinity=NAME",
        ),
        # what constructors refuse
        ("method.copies=0", "method.copies must be at least 1, got 0 (it keeps the worst)"),
        ("model.depth=17", "model.depth must be 6n + 4, got 17"),
        ("seed=-1", "seed must be at least 0, got -1"),
        ("~model.name", "network() missing 1 required positional argument: 'name'"),
        # interpolation
        (
            "seed=${dataset.sed}",
            "seed copies dataset.sed, and standins.Data has no sed; choose another seed or "
            "dataset, or give seed=VALUE",
        ),
        ("seed=${sed}", "seed: Interpolation key 'sed' not found"),
        ("seed=${seed}", "seed: Recursive interpolation detected"),
        ("seed=???", "seed must be given: seed=VALUE"),
        # targets
        (
            "method._target_=standins.MaxUpp",
            "method._target_=standins.MaxUpp cannot be imported "
            "(AttributeError: module 'standins' has no attribute 'MaxUpp')",
        ),
        (
            "method._target_=nowhere.MaxUp",
            "method._target_=nowhere.MaxUp cannot be imported "
            "(ModuleNotFoundError: No module named 'nowhere'); "
            "put nowhere.py into the folder given by --config-dir, or install it",
        ),
        ("method._target_=3", "method._target_ must name a class or function, got 3"),
        ("+_partial_=true", "_partial_ cannot be set on the run itself"),
        # grammar
        ("seed", "seed has no value; settings are written key=value"),
        ("=3", "=3 has no key; settings are written key=value"),
        (
            "seed=[1",
            r"seed=[1 cannot be read: no viable alternative at input '[1' "
            r"(text with symbols needs quotes: key=\'a b: c\')",
        ),
        (
            "é=1",
            r"é=1 cannot be read: 'é' at character 1 is not allowed "
            r"(text with symbols needs quotes: key=\'a b: c\')",
        ),
        (
            "seed=1,2",
            "seed=1,2 gives several values; add -m to run one after another, "
            "or write seed=[...] for a list",
        ),
        (
            "method=erm,maxup_mixup",
            "method=erm,maxup_mixup gives several values; add -m to run one after another",
        ),
    ],
)
def test_a_mistake_has_its_line(folder: Path, typed: str, line: str) -> None:
    """Three dots stand for words of Hydra's own."""
    pattern = ".*".join(map(re.escape, line.split("...")))
    found = told(folder, [typed])
    assert found is not None
    assert re.fullmatch(pattern, found), found


def test_a_sweep_is_told_of_the_job_that_fails(folder: Path) -> None:
    compose = compose_from(folder)
    sweep = ["method=maxup_mixup,erm", "method.copies=2,3", "seed=range(2)"]
    line = "method.copies is not a setting of standins.Erm (settings: vicinity)"
    error = RuntimeError("of any kind")
    assert explain(error, sweep, compose, sweep=True) == line
    assert explain(error, sweep[1:], compose, sweep=True) is None


def test_many_names_are_cut_to_the_nearest(folder: Path) -> None:
    many = [f"option_{index:02d}" for index in range(30)]
    found = listed("option_07", many)
    assert found.startswith("option_07, ")
    assert found.endswith(", ... 30 in all")
    assert len(found.split(", ")) == 13


@pytest.mark.parametrize(
    ("line", "extra"),
    [("hydra/sweeper=optuna", "tuning"), ("hydra/launcher=submitit_slurm", "slurm")],
)
def test_an_option_of_an_extra_that_is_not_installed_is_said_to_come_with_it(
    line: str, extra: str
) -> None:
    lacking = MissingConfigException("", line.replace("=", "/"), options=["basic"])
    told = explain(lacking, [line], _raise(lacking))
    assert (
        told == f"{line} is not known; it comes with pip install 'vicinal[{extra}]' (known: basic)"
    )


def _raise(error: Exception) -> Callable[[list[str]], DictConfig]:
    """Composes the defaults, and fails on anything more."""

    def compose_defaults(lines: list[str]) -> DictConfig:
        if lines:
            raise error
        return OmegaConf.create({"hydra": {"runtime": {"choices": {}}}})

    return compose_defaults
