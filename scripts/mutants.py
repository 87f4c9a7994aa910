"""Break the code on purpose, one fault at a time, and see that the tests named for it fail.

    python scripts/mutants.py                 # every fault of tests/mutants.toml
    python scripts/mutants.py ranks augmax    # those whose path or claim has one of these words

A fault is planted in a copy of the repository, never here. Exit code 1: a fault survived, or its
tests could not be run.
"""

import argparse
import ast
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "mutants.toml"
COPIED = ("src", "configs", "tests", "scripts", "results", "train.py", "pyproject.toml")
TIMEOUT = 900  # seconds; a fault that makes its tests hang is caught
VERDICTS = {1: "caught", 0: "SURVIVED", -signal.SIGALRM: "hangs"}
PRELOADED = (
    "torch._dynamo",
    "torchvision",
    "scipy.stats",
    "omegaconf",
)  # no plugins of pytest


@dataclass(frozen=True)
class Mutant:
    """One fault, what holds without it, and the tests (node ids) that must fail with it."""

    claim: str
    path: str
    old: str
    new: str
    tests: Sequence[str]

    def problem(self) -> str | None:
        """Why this entry does not fit the code, if it does not."""
        file = ROOT / self.path
        count = file.read_text().count(self.old) if file.is_file() else 0
        if count != 1 or self.old == self.new:
            return f"{self.path}: old must occur once and differ from new, occurs {count} times"
        for test in self.tests:
            name, _, function = test.partition("::")
            if function.partition("[")[0] not in _functions(ROOT / name):
                return f"{self.path}: there is no test {test}"
        return None

    def plant(self, folder: Path) -> str:
        """Put the fault into a copy; the file's text before."""
        before = (folder / self.path).read_text()
        _write(folder / self.path, before.replace(self.old, self.new))
        return before


def load() -> list[Mutant]:
    """Every fault of the list."""
    return [Mutant(**entry) for entry in tomllib.loads(LIST.read_text())["mutant"]]


@cache
def _functions(file: Path) -> set[str]:
    body = ast.parse(file.read_text()).body if file.is_file() else []
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


def _write(path: Path, text: str) -> None:
    """Without the bytecode of the other text, which may be as long and of the same second."""
    path.write_text(text)
    for stale in path.parent.glob(f"__pycache__/{path.stem}.*"):
        stale.unlink()


def _copy(folder: Path) -> Path:
    folder.mkdir()
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    return folder


def _test(mutant: Mutant, folder: Path) -> int:
    """Start the tests in a fork, so that torch is imported once; pytest imports its own plugins."""
    if child := os.fork():
        return child
    code = 70
    try:
        os.setpgrp()
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        signal.alarm(TIMEOUT)
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(folder / "src")
        sys.path.insert(0, str(folder / "src"))
        code = pytest.main(["-x", "-q", "-p", "no:xdist", *mutant.tests])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(mutants: Sequence[Mutant], jobs: int) -> int:
    """Try all of them, `jobs` at a time, and first all of their tests without a fault.

    Prints each verdict; how many were not as they should be.
    """
    for name in PRELOADED:
        __import__(name)
    every = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    waiting = [Mutant("its tests pass without a fault", "train.py", "", "", every), *mutants]
    running: dict[int, tuple[Mutant, Path, str, float]] = {}
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        free = [_copy(Path(scratch, str(number))) for number in range(jobs)]
        while waiting or running:
            while waiting and free:
                mutant, folder = waiting.pop(0), free.pop()
                before = mutant.plant(folder)
                running[_test(mutant, folder)] = mutant, folder, before, time.monotonic()
            child, status = os.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # ranks and workers that a fault left behind
            mutant, folder, before, since = running.pop(child)
            _write(folder / mutant.path, before)
            free.append(folder)
            found = VERDICTS.get(os.waitstatus_to_exitcode(status), "BROKEN")
            good = found in ("caught", "hangs") if mutant.old else found == "SURVIVED"
            said = found if mutant.old else ("passed" if good else "FAILED")
            took = f"{time.monotonic() - since:3.0f} s"
            print(f"{said:8}  {took}  {mutant.path}: {mutant.claim}", flush=True)
            if not good:
                wrong += 1
                print((folder / "output").read_text()[-2000:], *mutant.tests, sep="\n", flush=True)
    return wrong


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("words", nargs="*", help="only faults with one of these in path or claim")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    words, since = arguments.words, time.monotonic()
    chosen = [m for m in load() if not words or any(w in f"{m.path} {m.claim}" for w in words)]
    if stale := [problem for mutant in chosen if (problem := mutant.problem())]:
        sys.exit("\n".join(stale))
    wrong = run(chosen, arguments.jobs)
    seconds = time.monotonic() - since
    print(f"{len(chosen)} faults tried in {seconds:.0f} s, {wrong} survived or could not be tested")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
