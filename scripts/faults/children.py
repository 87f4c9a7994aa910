"""Runs in child processes, as the command line makes them, and what they leave."""

import itertools
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

import vicinal.run
from faults.keeping import keep
from vicinal.cli.configs import build, compose
from vicinal.run import Run
from vicinal.storage.checkpoints import Checkpoints
from vicinal.train import main

# One fault, tried again and again: yields what went wrong with each trial, nothing where it was
# survived, and returns a remark.
Trials = Generator[str, None, str]

RUNTIME = "runtime=cpu runtime.threads=1 runtime.checkpoint_seconds=0 runtime.progress=false"
_TINY = (  # a step costs less than its checkpoint; 15 steps
    "dataset=uci_iris model=mlp model.width=16 method=mixup optimizer.ema_decay=0.9 "
    f"schedule.epochs=3 schedule.batch_size=24 {RUNTIME}"
)
TINY: list[str] = str(_TINY).split()


def warm_up() -> None:
    """Import what every child would, and compose once; no backward, which forbids forking."""
    torch.set_num_threads(1)  # a forked child cannot use its parent's threads
    run: Run = build(compose(*TINY))
    run.loop(run.dataset.load())
    with patch.object(sys, "argv", ["train.py", *TINY]), patch.object(Run, "execute", one):
        main()


def one(*arguments: object) -> float:
    """Stands for a run."""
    return 1.0


def start(
    lines: list[str], out: Path, prepare: Callable[[], None] = lambda: None, name: str = ""
) -> int:
    """A child that runs `train.py LINES out=OUT`; what it says goes to OUT.NAMEsaid."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 0
    with Path(f"{out}.{name}said").open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        vicinal.run.forget_checkpoints = keep
        prepare()
        sys.argv = ["train.py", *lines, f"out={out}", f"results={out}/results"]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    os._exit(code)


def said(out: Path, name: str = "") -> list[str]:
    """What the last child of this name said, by lines."""
    return Path(f"{out}.{name}said").read_text().splitlines()


def wait(child: int, patience: float | None = None) -> int:
    """The exit code, negative for a signal; ours is SIGKILL once patience ends."""
    deadline = None if patience is None else time.monotonic() + patience
    while True:
        done, status = os.waitpid(child, 0 if deadline is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            deadline = None
        time.sleep(0.001)


def finish(lines: list[str], out: Path, prepare: Callable[[], None] = lambda: None) -> None:
    """A run to its end."""
    code = wait(start(lines, out, prepare))
    if code:
        raise AssertionError(f"the run itself failed ({code}): {' / '.join(said(out))}")


@cache
def undisturbed(root: Path) -> Path:
    """The folder of the run that nothing befell: made once for all faults, beside theirs."""
    finish(TINY, root / "whole")
    return root / "whole"


def interrupted(
    lines: list[str], out: Path, at: tuple[type, str, int], delay: float, number: int
) -> int | None:
    """Send a signal so long after the nth call of a method; the exit code.

    None where the run ended before.
    """
    reader, writer = os.pipe()

    def prepare() -> None:
        os.close(reader)
        owner, name, first = at
        original, calls = getattr(owner, name), itertools.count()

        def announced(*arguments: Any) -> Any:
            if next(calls) == first:
                os.write(writer, b"!")
            return original(*arguments)

        setattr(owner, name, announced)

    child = start(lines, out, prepare)
    os.close(writer)
    came = os.read(reader, 1)
    os.close(reader)
    if came:
        time.sleep(delay)
        os.kill(child, number)
    code = wait(child)
    if not came and code:
        raise AssertionError(f"the run itself failed ({code}): {' / '.join(said(out))}")
    return code if came else None


def checkpoints(out: Path) -> Checkpoints:
    """Of the only run under this folder."""
    folders = [path for path in out.rglob("checkpoints") if path.is_dir()]
    return Checkpoints(folders[0] if folders else out / "none")


def record(out: Path) -> dict[str, Any]:
    """Of the only run under this folder."""
    (path,) = out.rglob("record.json")
    return json.loads(path.read_text())


def outcome(out: Path) -> dict[str, Any]:
    """What must not depend on what befell the run: metrics, curves, and every tensor's bytes.

    Those of the last checkpoint, generators among them, and those of the kept weights.
    """
    found = record(out)
    curves = {key: curve for key, curve in found["curves"].items() if key != "seconds"}
    state = checkpoints(out).load()
    assert state is not None
    history = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in state["history"]]
    state["loop"]["counters"].pop()  # seconds
    tensors = dict(flattened("", state["loop"]))
    kept = {path.name: path.read_bytes() for path in out.rglob("weights/*.safetensors")}
    assert kept.keys() == {f"{reading}.safetensors" for reading in found["weights"]}
    return {"metrics": found["metrics"], "curves": curves, "history": history} | tensors | kept


def flattened(name: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Every leaf of a state by its path; tensors as their bytes, so that equal means identical."""
    if isinstance(node, dict | list | tuple):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            yield from flattened(f"{name}/{key}", value)
    elif isinstance(node, torch.Tensor):
        yield name, node.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    else:
        yield name, node


def differing(whole: Mapping[str, Any], out: Path) -> str:
    """The first name under which an outcome differs from that of the run that nothing befell."""
    found = outcome(out)
    names = sorted(whole.keys() | found.keys())
    wrong = next((name for name in names if whole.get(name) != found.get(name)), None)
    return "" if wrong is None else f"{out.name} differs: {wrong}"
