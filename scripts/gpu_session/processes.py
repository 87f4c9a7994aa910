"""Supervised processes, each in a process group that ends with it, with its output in a file.

A group, not a session, so that whatever cleans up after a killed script still finds them.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

ROOT = Path(__file__).parents[2]
TAIL = 12  # lines
POLL = 0.05  # seconds
REPORTS = "VICINAL_REPORTS"  # in the environment: where pytest's outcomes go


class Child:
    """A running command; leaving the `with` block ends it and all that it started."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        folder: Path = ROOT,
        stdin: bool = False,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                process_group=0,
            )

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self._process.returncode is None:
            found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                self.kill()
        return self._process.returncode

    def send(self, line: str) -> bool:
        """Write a line to its input; False if it no longer reads."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def close_stdin(self) -> None:
        """Send no more lines, on which a worker ends."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def stop(self) -> None:
        """Ask it to save its state and end."""
        if self.code is None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill the group, while its id still belongs to this process."""
        if self._process.returncode is not None:
            return
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self.close_stdin()

    def wait(self, deadline: float) -> int | None:
        """The exit code, or None if it still runs at the deadline."""
        while self.code is None and monotonic() < deadline:
            sleep(POLL)
        return self.code

    @property
    def tail(self) -> str:
        """The last lines of its output."""
        return tail(self.log)


def tail(log: Path, lines: int = TAIL) -> str:
    """The last lines of a file."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 200 * lines))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def environment(out: Path) -> dict[str, str]:
    """For child processes: paths of the sources, and caches that need no writable home."""
    cache = out / "cache"
    paths = [str(ROOT / "src"), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "CUDA_CACHE_PATH": str(cache / "cuda"),
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        "XDG_CACHE_HOME": str(cache),
    }
