"""How launched runs end, and what Hydra's sweepers are told of it."""

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from vicinal import errors
from vicinal.cli.failures import add_job
from vicinal.errors import PreemptedError, RunError, StoppedByUserError
from vicinal.launching.lines import last_line
from vicinal.launching.process import ending

SPEAKER = "vicinal: "  # before the one-line messages in a log


def failure(told: Mapping[str, Any], code: int, log: Path, start: int) -> Exception | None:
    """The error of a run that has ended: as it told, or as its exit code and its log show."""
    if "score" in told:
        return None
    if "error" in told:
        kind = getattr(errors, told["error"], RunError)
        return kind(told["message"])
    last = last_line(log, start)
    if code == StoppedByUserError.EXIT_CODE:
        return StoppedByUserError(last.removeprefix(SPEAKER) or "interrupted")
    if code == PreemptedError.EXIT_CODE:
        return PreemptedError(last.removeprefix(SPEAKER) or "stopped")
    if code > 0 and last.startswith(SPEAKER):
        return RunError(last.removeprefix(SPEAKER))
    said = f"; its last line: {last}" if last else ""
    return RunError(f"{_silent(code)}{said}")


def _silent(code: int) -> str:
    """The ending of a run that has told no result."""
    if code >= 0:
        return f"{ending(code)} and without a result"
    hint = ", which the system sends when memory runs out" if -code == signal.SIGKILL else ""
    return f"{ending(code)}{hint}"


def returned(
    overrides: Sequence[str], told: Mapping[str, Any], error: Exception | None
) -> JobReturn:
    """What other launchers return of a job."""
    made = JobReturn(list(overrides), working_dir=os.getcwd())  # noqa: PTH109
    if "config" in told:
        made.cfg = DictConfig(told["config"])
        made.hydra_cfg = DictConfig({"hydra": {"runtime": {"choices": told["choices"]}}})
    if error is not None:
        add_job(error, overrides)
    made.return_value = told.get("score") if error is None else error
    made.status = JobStatus.COMPLETED if error is None else JobStatus.FAILED
    return made
