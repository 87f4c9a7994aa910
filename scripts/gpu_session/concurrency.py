"""One, two and four processes at once on one device, with and without CUDA MPS."""

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

from gpu_session.parts import PartError
from gpu_session.pool import Row, done, read
from gpu_session.processes import POLL, Child
from vicinal.launching.process import ending
from vicinal.storage.files import write_json_atomically

COUNTS = (1, 2, 4)
SECONDS = 3.0  # per measurement
EXIT = 5.0  # seconds that processes have to end by themselves


def attempt(
    target: Path, form: str, environment: Mapping[str, str], deadline: float, rehearse: bool
) -> None:
    """Measure, unless that is done; an error is written beside what was measured."""
    if not done(target.parent, target.stem):
        try:
            measure(target, form, environment, deadline, rehearse)
        except PartError as error:
            write_json_atomically(target, (read(target) or {}) | {"error": str(error)})


def measure(
    target: Path, form: str, environment: Mapping[str, str], deadline: float, rehearse: bool
) -> None:
    """Write images per second by the number of processes, each as soon as it is known."""
    counts, seconds = ((1, 2), 0.3) if rehearse else (COUNTS, SECONDS)
    folder = target.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    flags = ["--rehearse"] if rehearse else []
    command = [sys.executable, "-m", "gpu_session.member", str(folder)]
    row: Row = {}
    with ExitStack() as ended:
        members = [
            ended.enter_context(
                Child(
                    [*command, str(k), form, *flags], folder / f"{k}.log", environment, stdin=True
                )
            )
            for k in range(counts[-1])
        ]
        await_files([folder / f"ready-{k}" for k in range(len(members))], members, deadline)
        for count in counts:
            start = time.time() + 0.2
            for member in members[:count]:
                member.send(f"{count} {start} {seconds}")
            files = [folder / f"{count}-{k}.json" for k in range(count)]
            await_files(files, members, deadline)
            each = [(read(file) or {})["rate"] for file in files]
            row[str(count)] = {"images_per_second": sum(each), "each": each}
            write_json_atomically(target, row)
        for member in members:  # MPS wants its clients to end by themselves
            member.close_stdin()
        for member in members:
            member.wait(min(deadline, monotonic() + EXIT))


def await_files(files: Sequence[Path], members: Sequence[Child], deadline: float) -> None:
    """Wait until all exist; an error if a process or the time ends first."""
    while not all(file.exists() for file in files):
        for member in members:
            if (code := member.code) is not None:
                raise PartError(f"a process {ending(code)}\n{member.tail}")
        if monotonic() > deadline:
            tails = "\n".join(member.tail for member in members)
            raise PartError(f"hung: killed, {len(members)} processes\n{tails}")
        time.sleep(POLL)
