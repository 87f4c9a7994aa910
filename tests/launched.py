"""Sweeps by `hydra/launcher=gpus` whose launcher and nursery are forks of the test's process."""

import json
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


def histories(folder: Path) -> dict[str, list[int]]:
    """The epochs that each run has told of, by its seed."""
    return {
        path.parent.name: [json.loads(line)["epoch"] for line in path.read_text().splitlines()]
        for path in folder.rglob("history.jsonl")
    }


def records(folder: Path) -> dict[str, Any]:
    """What is the same however a run came to its end."""
    found = {}
    for path in folder.rglob("record.json"):
        record = json.loads(path.read_text())
        curves = {key: curve for key, curve in record["curves"].items() if key != "seconds"}
        found[path.parent.name] = {"metrics": record["metrics"], "curves": curves}
    return found


def longer(now: dict[str, list[int]], before: dict[str, list[int]]) -> list[str]:
    return [seed for seed, epochs in now.items() if len(epochs) > len(before.get(seed, ()))]


def assert_nothing_lost_or_twice(disturbed: Path, whole: Path, epochs: int) -> None:
    """Three seeds have every epoch once, and the records of a sweep that nothing disturbed."""
    told = histories(disturbed)
    assert told == {seed: list(range(1, epochs + 1)) for seed in ("seed0", "seed1", "seed2")}
    assert records(disturbed) == records(whole)
