"""Sweeps by `hydra/launcher=gpus` whose launcher and nursery are forks of the test's process."""

import os
import signal
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from forks import Fork
from hydra.core.global_hydra import GlobalHydra

from vicinal.launching import nursery, process

LAUNCHER = ("-m", "hydra/launcher=gpus", "hydra.launcher.per_gpu=2")


class Forked:
    """In place of subprocess.Popen: a nursery that has imported everything when it starts."""

    def __init__(self, command: list[str], env: dict[str, str], **_: Any) -> None:
        theirs, mine = os.pipe(), os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            os.environ.update(env)
            os.dup2(theirs[0], 0)
            os.dup2(mine[1], 1)
            for end in (*theirs, *mine):
                os.close(end)
            sys.argv = command[3:]
            GlobalHydra.instance().clear()
            with patch.object(nursery, "prepare", prepared):
                nursery.main()
        for end in (theirs[0], mine[1]):
            os.close(end)
        self.stdin, self.stdout = os.fdopen(theirs[1], "wb"), os.fdopen(mine[0], "rb")

    def terminate(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


prepared = cache(nursery.prepare)  # once, in the test's process


class Launched(Fork):
    """`train.py -m WORDS hydra/launcher=gpus` in a folder."""

    def __init__(self, words: list[str], folder: Path) -> None:
        prepared("vicinal.train:execute")
        with patch.object(process, "Popen", Forked):
            super().__init__([*LAUNCHER, *words], folder, os.environ)

    @property
    def nursery(self) -> int:
        """Its process."""
        return self._only_child_of(self.pid)[0]

    @property
    def runs(self) -> list[int]:
        """The processes of its runs."""
        return self._only_child_of(self.nursery)

    def _only_child_of(self, process: int) -> list[int]:
        found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return [int(each) for each in found]


def await_end(processes: list[int], seconds: float = 60.0) -> None:
    """Wait until processes of others have ended; zombies have."""
    deadline = time.monotonic() + seconds
    while any(map(lives, processes)):
        assert time.monotonic() < deadline, processes
        time.sleep(0.01)


def lives(process: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
