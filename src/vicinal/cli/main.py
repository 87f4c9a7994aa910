"""Hydra's command line around a function that executes one config.

Whatever a user can type wrong ends in one line; HYDRA_FULL_ERROR=1 shows the traceback with it.
Nothing here imports torch, so that --help and tab completion answer at once.
"""

import argparse
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial, wraps
from pathlib import Path

import hydra
from hydra import version
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from vicinal.cli.completion import completions
from vicinal.cli.configs import CONFIGS
from vicinal.cli.explain import explain
from vicinal.cli.failures import add_job, job_message, print_error, quiet_pipe, user_message
from vicinal.cli.launch import leave_ranks, num_ranks, silence_other_ranks
from vicinal.cli.messages import one_line
from vicinal.cli.misplaced import refuse_misplaced
from vicinal.cli.overrides import parse, quote
from vicinal.cli.own import importable
from vicinal.cli.search import searchpath
from vicinal.cli.sweeps import choose_sweeper
from vicinal.cli.typed import typed
from vicinal.cli.versions import versions
from vicinal.errors import PreemptedError, RunError, SearchError, StoppedByUserError
from vicinal.machine import slurm

INTERRUPTED = "interrupted; the same line again goes on from what was saved last"
SWEEP_ENDS = "the sweep ends here; the same line again resumes this run and goes on with the rest"

Execute = Callable[[DictConfig], float]


def start(execute: Execute) -> None:
    """Execute what the command line asks for; exit with 1 on failure, 75 or 130 if stopped."""
    arguments = argparse.Namespace(overrides=[], shell_completion=False)
    silence_other_ranks()
    with _hydra_raises() as tracebacks:
        try:
            with quiet_pipe():
                arguments = _parse_arguments()
                _run(execute, arguments, tracebacks)
            leave_ranks()
        except KeyboardInterrupt:
            print(f"\nvicinal: {INTERRUPTED}", file=sys.stderr)
            sys.exit(StoppedByUserError.EXIT_CODE)
        except Exception as error:
            if "COMP_LINE" not in os.environ:  # a shell that completes a line prints no errors
                message = job_message(error) or _mistake(error, arguments) or user_message(error)
                print_error(error, message, tracebacks)
            sys.exit(1)


@contextmanager
def _hydra_raises() -> Iterator[bool]:
    """Have Hydra raise its errors and warnings; whether the user asked for tracebacks."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints over several lines and exits
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: paths may not be UTF-8
    warnings.filterwarnings("error", module=r"hydra\._internal\.config_loader_impl")
    try:
        yield before == "1"
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


def _parse_arguments() -> argparse.Namespace:
    """Hydra's flags, anywhere between the settings; --version is ours."""
    if "--version" in sys.argv[1:]:
        print(versions())
        sys.exit()
    parser = get_args_parser()
    parser.exit_on_error = False
    arguments, unknown = parser.parse_known_intermixed_args()
    if unknown:
        raise RunError(
            f"{unknown[0]} is not an option; settings are written key=value (see --help; the "
            "command of a wandb sweep ends in ${args_no_hyphens})"
        )
    if arguments.experimental_rerun:
        raise RunError("--experimental-rerun is not an option; the same line again resumes a run")
    if arguments.config_dir:
        importable(Path(arguments.config_dir))
    runs = not (arguments.cfg or arguments.info or arguments.help or arguments.hydra_help)
    refuse_misplaced(arguments.overrides, _is_sweep(arguments), runs)
    return arguments


def _is_sweep(arguments: argparse.Namespace) -> bool:
    return arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides


def _run(execute: Execute, arguments: argparse.Namespace, tracebacks: bool) -> None:
    """Do what `hydra.main` does, with arguments that are parsed already."""

    @wraps(execute)  # Hydra names jobs after its module
    def job(config: DictConfig) -> float:
        return _execute_job(execute, config, tracebacks)

    overrides = list(arguments.overrides)
    if any(each.startswith("query=") for each in overrides) and arguments.shell_completion:
        if found := completions(os.environ.get("COMP_LINE", "")):
            print(" ".join(found))
            return
    if arguments.help:
        overrides.append(f"hydra.help.app_name={quote(typed())}")
    keys = {parse(line).key_or_group for line in overrides}
    if "table" in keys and "hydra/sweeper" not in keys:
        overrides.insert(0, "hydra/sweeper=table")
    version.setbase("1.3")
    choose_sweeper(own_configs=arguments.config_path is None)
    with _tables_as_typed() if arguments.help else nullcontext():
        _run_hydra(
            args=argparse.Namespace(**vars(arguments) | {"overrides": overrides}),
            args_parser=get_args_parser(),
            task_function=job,
            config_path=str(CONFIGS),
            config_name="train",
        )


@contextmanager
def _tables_as_typed() -> Iterator[None]:
    """Have the help list `table=mixup/: figure3a`, where Hydra prints `table/mixup: figure3a`."""
    text = io.StringIO()
    try:
        with redirect_stdout(text):
            yield
    finally:
        print(re.sub(r"(?m)^table/([^:]+):", r"table=\1/:", text.getvalue()), end="")


def _execute_job(execute: Execute, config: DictConfig, tracebacks: bool) -> float:
    hydra_config, submitted = HydraConfig.get(), slurm.num_submitted()
    try:
        with quiet_pipe():
            score = execute(config)
        if submitted:
            leave_ranks()
        return score
    except Exception as error:
        print_error(error, user_message(error), tracebacks)
        preempted, sweep = isinstance(error, PreemptedError), hydra_config.mode is RunMode.MULTIRUN
        ends = preempted or isinstance(error, SearchError)
        if not submitted and (ends or not sweep or num_ranks() > 1):
            # The end of a sweep as well: it was asked to stop, or other ranks are in this run.
            if preempted and sweep:
                print(f"vicinal: {SWEEP_ENDS}", file=sys.stderr)
            sys.exit(error.EXIT_CODE if isinstance(error, PreemptedError) else 1)
        add_job(error, hydra_config.overrides.task)
        raise  # launchers and sweepers must see that the job failed


def _mistake(error: Exception, arguments: argparse.Namespace) -> str | None:
    """What was mistyped, if that is why there is no config."""
    if arguments.shell_completion:
        return one_line(error)
    message = None
    if arguments.overrides:
        compose, sweep = partial(_compose, arguments), _is_sweep(arguments)
        message = explain(error, arguments.overrides, compose, sweep)
    # Hydra and argparse object to flags.
    about_flags = isinstance(error, ValueError | argparse.ArgumentError)
    return message or (one_line(error) if about_flags else None)


def _compose(arguments: argparse.Namespace, overrides: list[str]) -> DictConfig:
    directory = Path(arguments.config_path or CONFIGS).absolute()
    with hydra.initialize_config_dir(str(directory), version_base="1.3"):
        return hydra.compose(
            arguments.config_name or "train",
            [*searchpath(), *overrides],
            return_hydra_config=True,
        )
