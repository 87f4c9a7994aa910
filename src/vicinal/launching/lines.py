"""The command line of a launched run, which is one that a user could type, and its log file."""

import re
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.types import TaskFunction
from omegaconf import DictConfig

from vicinal.cli.overrides import key_of

LONGEST = 80  # characters of a log's name that say which run it is
TAIL = 4096  # bytes, which the last line of a log is looked for in
_OF_THE_SWEEP = re.compile(r"hydra[./](launcher|sweeper)\b|hydra\.mode$")
_FLAGS = ("config_path", "config_name", "config_dir")


def arguments(config: DictConfig, overrides: Sequence[str]) -> list[str]:
    """The program and the words with which one run of this process's sweep is started alone."""
    typed, _ = get_args_parser().parse_known_intermixed_args()
    flags = [(f"--{name.replace('_', '-')}", getattr(typed, name)) for name in _FLAGS]
    words = [word for flag, value in flags if value for word in (flag, value)]
    ours = [line for line in config.hydra.overrides.hydra if not _OF_THE_SWEEP.match(key_of(line))]
    return [sys.argv[0], *words, *ours, *overrides]


def task_name(task: TaskFunction) -> str:
    """MODULE:FUNCTION, by which another process finds what executes a run."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = task.__module__
    if module == "__main__" and spec is not None:  # started by python -m
        module = spec.name
    return f"{module}:{task.__name__}"


def log_file(config: DictConfig, overrides: Sequence[str]) -> Path:
    """Where the run's output goes; the same file each time that it is launched."""
    line = ",".join(overrides)
    short = re.sub(r"[^\w.=,+-]+", "-", line)[:LONGEST].strip("-,")
    return Path(config.hydra.sweep.dir, f"{short}-{sha256(line.encode()).hexdigest()[:8]}.log")


def last_line(log: Path, start: int) -> str:
    """The last line that was written after `start` bytes; empty if there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - TAIL))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")
