"""Runs in forked child processes, started as the command line starts them, and what they leave."""

import hashlib
import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from faults.keeping import keep
from forks import fork

from vicinal.evaluation import finished
from vicinal.storage.checkpoints import Checkpoints

RUNTIME = "runtime=cpu runtime.threads=1 runtime.checkpoint_seconds=0 runtime.progress=false"
# Has 15 steps, each of which takes less time than its checkpoint.
TINY = (
    "dataset=uci_iris model=mlp model.width=16 method=mixup optimizer.ema_decay=0.9 "
    f"schedule.epochs=3 schedule.batch_size=24 {RUNTIME}"
).split()


def start(
    lines: list[str], out: Path, prepare: Callable[[], None] = lambda: None, name: str = ""
) -> int:
    """Fork a child that runs `train.py LINES out=OUT`; its output goes to OUT.NAMElog."""

    def kept() -> None:
        finished.forget_checkpoints = keep
        prepare()

    path = Path(f"{out}.{name}log")
    path.unlink(missing_ok=True)
    return fork([*lines, f"out={out}", f"results={out}/results"], path, path, kept)


def log(out: Path, name: str = "") -> str:
    """What the last child of this name printed."""
    return Path(f"{out}.{name}log").read_text()


def last_line(out: Path) -> str:
    return (log(out).splitlines() or [""])[-1]


def wait(child: int, seconds: float | None = None) -> int:
    """The exit code, negative for a signal; after `seconds` the child gets SIGKILL."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, 0 if deadline is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            deadline = None
        time.sleep(0.001)


def finish(lines: list[str], out: Path, prepare: Callable[[], None] = lambda: None) -> None:
    """Run to the end."""
    code = wait(start(lines, out, prepare))
    assert code == 0, log(out)


def interrupt(
    lines: list[str], out: Path, call: tuple[type, str, int], delay: float, number: int
) -> int | None:
    """Send a signal `delay` seconds after the nth call of a method; return the exit code.

    None if the run ended before that call.
    """
    reader, writer = os.pipe()

    def prepare() -> None:
        os.close(reader)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as a terminal starts it
        owner, name, nth = call
        original, calls = getattr(owner, name), itertools.count()

        def announced(*arguments: Any) -> Any:
            if next(calls) == nth:
                os.write(writer, b"!")
            return original(*arguments)

        setattr(owner, name, announced)

    child = start(lines, out, prepare)
    os.close(writer)
    called = os.read(reader, 1)
    os.close(reader)
    if called:
        time.sleep(delay)
        os.kill(child, number)
    code = wait(child)
    assert called or code == 0, log(out)
    return code if called else None


def checkpoints(out: Path) -> Checkpoints:
    """Those of the only run under this folder."""
    folders = [path for path in out.rglob("checkpoints") if path.is_dir()]
    return Checkpoints(folders[0] if folders else out / "none")


def assert_whole_checkpoints(out: Path) -> None:
    """Whatever a killed process left under a checkpoint's final name is all that was written."""
    for path in checkpoints(out).paths():
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        assert checksum.startswith(path.stem.split("-")[-1]), path


def record(out: Path) -> dict[str, Any]:
    """That of the only run under this folder."""
    (path,) = out.rglob("record.json")
    return json.loads(path.read_text())


def outcome(out: Path) -> dict[str, Any]:
    """What no fault may change: metrics, curves, kept weights and the last checkpoint's tensors."""
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


def assert_same_outcome(out: Path, whole: Path) -> None:
    """A run ended exactly as the undisturbed one did; the names of what differs otherwise."""
    found, expected = outcome(out), outcome(whole)
    names = sorted(found.keys() | expected.keys())
    assert [name for name in names if found.get(name) != expected.get(name)] == []


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
