"""The command line: compose a config, check it, build the run that it is, and execute it.

Whatever a user can type wrong ends in one line; HYDRA_FULL_ERROR=1 shows the traceback with it.
Nothing here imports torch, so that --help and tab completion answer at once.
"""

import argparse
import io
import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vicinal.cli.configs import CONFIGS, build, check, parsed, recorded
from vicinal.cli.explain import complaint, explain, failed_job, note_job
from vicinal.cli.messages import one_line
from vicinal.errors import PreemptedError, RunError
from vicinal.machine import slurm

if TYPE_CHECKING:
    from vicinal.run import Run


def main() -> None:
    """Do what the command line says; exit with 1 where it cannot be done, 75 where preempted."""
    before = os.environ.get("HYDRA_FULL_ERROR")

    @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")
    def task(config: DictConfig) -> float:
        return _job(config, before == "1")

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would print over several lines
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: paths may not be UTF-8
    warnings.filterwarnings("error", module=r"hydra\._internal\.config_loader_impl")
    arguments = argparse.Namespace(overrides=[], shell_completion=False)
    _hush_others()
    try:
        arguments = _arguments()
        if any(map(_tables, arguments.overrides)):
            sys.argv.insert(1, "hydra/sweeper=table")  # which one table chooses by itself
        task()
        _leave()
    except KeyboardInterrupt:
        print("\nvicinal: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if "COMP_LINE" not in os.environ:  # a shell that asks for completions wants no comment
            said = failed_job(error) or _mistake(error, arguments) or complaint(error)
            _tell(error, before == "1", said)
        sys.exit(1)
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


def _job(config: DictConfig, tracebacks: bool) -> float:
    job, submitted = HydraConfig.get(), slurm.num_submitted()
    choices, overrides = job.runtime.choices, OmegaConf.to_container(job.overrides.task)
    sweep = job.mode is RunMode.MULTIRUN
    assert isinstance(overrides, list)
    try:
        if choices.get("table"):
            how = "start it with -m, and with no sweeper but its own"
            raise RunError(f"table={choices['table']} is a plan of many runs: {how}")
        check(config, choices, overrides)
        run: Run = build(config)
        if OmegaConf.select(config, "runtime.slurm"):
            slurm.become_rank()
            _hush_others()
        _check_launcher(choices, sweep, submitted)
        ours = {k: v for k, v in choices.items() if v is not None and not k.startswith("hydra/")}
        score = run.execute(recorded(config), ours)
        if submitted:
            _leave()
        return score
    except Exception as error:
        _tell(error, tracebacks, complaint(error))
        preempted = isinstance(error, PreemptedError)  # ends a sweep, too
        if not submitted and (preempted or not sweep or _num_ranks() > 1):
            sys.exit(PreemptedError.EXIT_CODE if preempted else 1)  # other ranks are in this run
        note_job(error, overrides)
        raise  # launchers and sweepers must see that the job failed


def _check_launcher(choices: Mapping[str, Any], sweep: bool, submitted: int) -> None:
    if submitted > 1 and _num_ranks() == 1:
        raise RunError(
            f"runtime must be slurm where hydra.launcher starts {submitted} tasks for a run, "
            f"got {choices.get('runtime')}"
        )
    launcher = choices.get("hydra/launcher")
    if sweep and _num_ranks() > 1 and not submitted and launcher != "basic":
        raise RunError(
            f"hydra/launcher must be basic under torchrun or srun, got {launcher} "
            "(its ranks train one run after the other, all of them together)"
        )


def _hush_others() -> None:
    if _rank() > 0:  # the first says it for all
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (until it exits)


def _leave() -> None:
    if _num_ranks() > 1:
        from vicinal.machine.ranks import leave  # noqa: PLC0415 (imports torch)

        leave()


def _rank() -> int:
    return int(os.environ.get("RANK", "0")) if _num_ranks() > 1 else 0


def _num_ranks() -> int:
    """As torchrun tells its processes, or `slurm` tells this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _arguments() -> argparse.Namespace:
    """Check Hydra's flags, and put them after the settings: Hydra cannot take them in between."""
    parser = get_args_parser()
    parser.exit_on_error = False
    found, unknown = parser.parse_known_intermixed_args()
    if unknown:
        raise RunError(
            f"{unknown[0]} is not an option; settings are written key=value (see --help)"
        )
    flags = [word for word in sys.argv[1:] if word not in (*found.overrides, "--")]
    sys.argv[1:] = [*found.overrides, *flags]
    return found


def _tables(line: str) -> bool:
    override = parsed(line)
    return override.key_or_group == "table" and override.is_sweep_override()


def _compose(arguments: argparse.Namespace, overrides: list[str]) -> DictConfig:
    directory = Path(arguments.config_path or CONFIGS).absolute()
    more = Path(arguments.config_dir or directory).absolute()
    with hydra.initialize_config_dir(str(directory), version_base="1.3"):
        return hydra.compose(
            arguments.config_name or "train",
            [f"hydra.searchpath=['file://{more}']", *overrides],
            return_hydra_config=True,
        )


def _mistake(error: Exception, arguments: argparse.Namespace) -> str | None:
    """What was typed wrong, if that is why there is no config."""
    if arguments.shell_completion:
        return one_line(error)
    told = None
    if arguments.overrides:
        sweep = arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides
        told = explain(arguments.overrides, partial(_compose, arguments), sweep)
    # What is left are Hydra's and argparse's own objections to the flags.
    flags = isinstance(error, ValueError | argparse.ArgumentError)
    return told or (one_line(error) if flags else None)


def _tell(error: Exception, tracebacks: bool, said: str | None) -> None:
    if tracebacks or said is None:
        traceback.print_exception(error)
    if said is not None:
        speaker = f"vicinal (rank {_rank()})" if _num_ranks() > 1 else "vicinal"
        print(f"{speaker}: {said}", file=sys.stderr)


if __name__ == "__main__":
    main()
