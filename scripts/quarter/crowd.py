"""One, two and four processes at once on one device, with and without CUDA MPS.

MPS is started here, where it is installed, with folders of its own, and quit here. Nothing else of
the device is touched.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic

from quarter.parts import PartError
from quarter.pool import Row, done, read
from quarter.processes import POLL, Child, ending
from vicinal.storage.files import write_json_atomically

CONTROL = "nvidia-cuda-mps-control"
COUNTS = (1, 2, 4)
SECONDS = 3.0  # of a measurement
PATIENCE = 20.0  # with the daemon
LEAVES = 5.0  # seconds


def attempt(
    target: Path, form: str, environment: Mapping[str, str], deadline: float, rehearse: bool
) -> None:
    """Measure, unless that is done; what fails is written down beside what was measured."""
    if not done(target.parent, target.stem):
        try:
            measure(target, form, environment, deadline, rehearse)
        except PartError as error:
            write_json_atomically(target, (read(target) or {}) | {"error": str(error)})


def measure(
    target: Path, form: str, environment: Mapping[str, str], deadline: float, rehearse: bool
) -> None:
    """Write images a second by the number of processes, each as soon as it is known."""
    counts, seconds = ((1, 2), 0.3) if rehearse else (COUNTS, SECONDS)
    folder = target.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    flags = ["--rehearse"] if rehearse else []
    command = [sys.executable, "-m", "quarter.member", str(folder)]
    row: Row = {}
    with ExitStack() as ended:
        members = [
            ended.enter_context(
                Child(
                    [*command, str(k), form, *flags], folder / f"{k}.log", environment, asked=True
                )
            )
            for k in range(counts[-1])
        ]
        await_files([folder / f"ready-{k}" for k in range(len(members))], members, deadline)
        for count in counts:
            start = time.time() + 0.2
            for member in members[:count]:
                member.ask(f"{count} {start} {seconds}")
            files = [folder / f"{count}-{k}.json" for k in range(count)]
            await_files(files, members, deadline)
            each = [(read(file) or {})["rate"] for file in files]
            row[str(count)] = {"images_per_second": sum(each), "each": each}
            write_json_atomically(target, row)
        for member in members:  # MPS wants its clients to leave by themselves
            member.hang_up()
        for member in members:
            member.wait(min(deadline, monotonic() + LEAVES))


def await_files(files: Sequence[Path], members: Sequence[Child], deadline: float) -> None:
    """Until all are there; an error where a member ended before, or the time."""
    while not all(file.exists() for file in files):
        for member in members:
            if (code := member.code) is not None:
                raise PartError(f"a process {ending(code)}\n{member.tail}")
        if monotonic() > deadline:
            said = "\n".join(member.tail for member in members)
            raise PartError(f"hung: killed, {len(members)} processes\n{said}")
        time.sleep(POLL)


def installed() -> bool:
    """Whether there is MPS."""
    return shutil.which(CONTROL) is not None


@contextmanager
def mps(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The environment of processes that share the device through a daemon, which ends with it."""
    with tempfile.TemporaryDirectory(prefix="vicinal-mps-") as folder:
        pipe, log = Path(folder, "pipe"), Path(folder, "log")
        pipe.mkdir()
        log.mkdir()
        shared = dict(environment) | {
            "CUDA_MPS_PIPE_DIRECTORY": str(pipe),
            "CUDA_MPS_LOG_DIRECTORY": str(log),
        }
        try:
            command([CONTROL, "-d"], shared)
            yield shared
        finally:
            try:
                command([CONTROL], shared, "quit\n")
            except PartError:
                end_daemon(pipe / f"{CONTROL}.pid")


def command(words: Sequence[str], environment: Mapping[str, str], told: str = "") -> None:
    """One of the daemon's."""
    try:
        subprocess.run(
            words,
            input=told,
            env=environment,
            text=True,
            timeout=PATIENCE,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise PartError(f"{' '.join(words)} failed: {error}") from error


def end_daemon(file: Path) -> None:
    """The daemon of this folder, where it does not listen."""
    if file.exists():
        with suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)
