"""Command lines in forks of the test's process, which start at once: all is imported by then."""

import atexit
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from unittest.mock import patch

from composing import compose

from vicinal.cli.configs import build
from vicinal.run import Run
from vicinal.train import main


class Fork:
    """`train.py WORDS`, started in a folder; what it prints goes to files in a folder of logs."""

    def __init__(self, words: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.returncode: int | None = None
        logs = folder / "logs"
        logs.mkdir(exist_ok=True)
        number = len(list(logs.iterdir()))
        self.paths = [logs / f"{number}.out", logs / f"{number}.err"]
        for path in self.paths:
            path.touch()
        self.pid = fork(words, *self.paths, lambda: _move(folder, environment))

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """What it printed on stdout and stderr, once it ended; it is killed after that long."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.send_signal(signal.SIGKILL)
            time.sleep(0.005)
        out, err = (path.read_text() for path in self.paths)
        return out, err

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if done else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def _move(folder: Path, environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)


def fork(words: list[str], out: Path, err: Path, prepare: Callable[[], None]) -> int:
    """Fork a child that runs `train.py WORDS` once it is prepared; what it prints goes to files."""
    warm_up()
    child = os.fork()
    if child == 0:
        os._exit(_code(words, out, err, prepare))
    return child


def _code(words: list[str], out: Path, err: Path, prepare: Callable[[], None]) -> int:
    """What a process of its own would exit with; nothing of the test's is run at its end."""
    for number, path in ((1, out), (2, err)):
        with path.open("ab") as file:  # which may be one
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
    atexit._clear()
    sys.argv = ["train.py", *words]
    code = 0
    try:
        prepare()
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


@cache
def warm_up() -> None:
    """Import what every run needs, and compose once; no backward, after which no fork can."""
    words = "dataset=digits", "dataset.size=8", "model=mlp", "runtime=cpu"
    run: Run = build(compose(*words))
    run.loop(run.dataset.load())
    with patch.object(sys, "argv", ["train.py", *words]), patch.object(Run, "execute", _nothing):
        main()


def _nothing(*_: object) -> float:
    return 0.0
