"""The launcher's end of the pipes to its nursery."""

import json
import os
import select
import sys
import weakref
from collections.abc import Mapping
from contextlib import suppress
from signal import Signals
from subprocess import PIPE, Popen
from typing import Any, Protocol

from vicinal.errors import RunError

Message = dict[str, Any]
CHUNK = 1 << 16


class Nursery(Protocol):
    """What starts the runs."""

    def send(self, message: Message) -> None:
        """Give an order: a job, or a signal for all that run."""
        ...

    def receive(self, timeout: float) -> list[Message]:
        """What it has told; waits that long for the first of it."""
        ...


class NurseryProcess:
    """A nursery that is imported while the sweep is planned; it ends with this process."""

    def __init__(self, task: str, environment: Mapping[str, str], mps: bool = False) -> None:
        flags = ["--mps"] if mps else []
        self.process = Popen(
            [sys.executable, "-P", "-m", "vicinal.launching.nursery", task, *flags],
            stdin=PIPE,
            stdout=PIPE,
            env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            process_group=0,  # a terminal's signals are for the launcher
        )
        self._text = b""
        self.close = weakref.finalize(self, _close, self.process)  # at exit, too

    def send(self, message: Message) -> None:
        """Give an order."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def receive(self, timeout: float) -> list[Message]:
        """What it has told; waits that long for the first of it."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            return []
        read = os.read(self.process.stdout.fileno(), CHUNK)
        if not read:
            raise self._death()
        *lines, self._text = (self._text + read).split(b"\n")
        return [json.loads(line) for line in lines]

    def _death(self) -> RunError:
        how = ending(self.process.wait())
        return RunError(
            f"process {self.process.pid}, which starts the runs, has ended ({how}); running ones "
            "stop at a checkpoint, and the same line again resumes"
        )


def ending(code: int) -> str:
    """An exit code in words."""
    return f"killed by {Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _close(process: Popen[bytes]) -> None:
    """End a nursery, at once if it is still importing; if it has children, it asks them to stop."""
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(BrokenPipeError):
            pipe.close()
    process.terminate()
    process.wait()
