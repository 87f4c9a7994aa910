"""CUDA MPS: NVIDIA's daemon by which several processes compute on a GPU at the same time.

Its processes belong together: a fault of one on the GPU ends all that share this GPU. What is here
has been tested with a stand-in for NVIDIA's program, and on no GPU since it moved here.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vicinal.errors import RunError

CONTROL = "nvidia-cuda-mps-control"
PIPE = "CUDA_MPS_PIPE_DIRECTORY"
DEFAULT_PIPE = Path("/tmp/nvidia-mps/control")  # there while a daemon without PIPE runs
TIMEOUT = 20.0  # seconds to wait for the daemon


def installed() -> bool:
    """Whether MPS is installed."""
    return shutil.which(CONTROL) is not None


def running(environment: Mapping[str, str]) -> bool:
    """Whether processes with this environment already use a daemon."""
    return PIPE in environment or DEFAULT_PIPE.exists()


@contextmanager
def mps(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Run MPS's daemon during the block; the environment for processes that share a device.

    The daemon has folders of its own. One that already runs is used instead, and not stopped.
    """
    if running(environment):
        yield dict(environment)
        return
    # No TemporaryDirectory: it would be deleted when a fork of this process exits.
    folder = tempfile.mkdtemp(prefix="vicinal-mps-")
    pipe, log = Path(folder, "pipe"), Path(folder, "log")
    pipe.mkdir()
    log.mkdir()
    shared = dict(environment) | {PIPE: str(pipe), "CUDA_MPS_LOG_DIRECTORY": str(log)}
    try:
        _command([CONTROL, "-d"], shared)
        yield shared
    finally:
        try:
            _command([CONTROL], shared, "quit\n")
        except RunError:
            _end_daemon(pipe / f"{CONTROL}.pid")
        shutil.rmtree(folder, ignore_errors=True)


def _command(words: Sequence[str], environment: Mapping[str, str], text: str = "") -> None:
    """Run one of the daemon's commands."""
    try:
        subprocess.run(
            words,
            input=text,
            env=environment,
            text=True,
            timeout=TIMEOUT,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RunError(f"{' '.join(words)} failed: {error}") from error


def _end_daemon(file: Path) -> None:
    """Kill the daemon of this folder if it did not quit."""
    if file.exists():
        with suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)
