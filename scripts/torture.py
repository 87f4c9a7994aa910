"""Kill runs with SIGKILL at random instants, start them again, and compare with one never killed.

For each method: the record's metrics and curves and every tensor of the last checkpoint must be
equal bit for bit. Prints how many kills were tried; exits non-zero at any divergence.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from vicinal.checkpoints import Checkpoints
from vicinal.configs import CONFIGS, build, compose, recorded

SMALL = (
    "dataset=digits dataset.size=8 dataset.train_per_class=10 dataset.holdout_per_class=2 "
    "dataset.unlabelled=true "
    "model=wrn10_2 runtime=cpu runtime.threads=1 runtime.checkpoint_seconds=0 "
    "runtime.progress=false "
    "schedule.epochs=3 schedule.batch_size=24 optimizer.ema_decay=0.9"
).split()


def main() -> None:
    """Kill, compare, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="at least so many, over all methods")
    parser.add_argument("--methods", nargs="*", help="all, unless named")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # before any fork: a forked child cannot use its parent's threads
    found = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
    methods = arguments.methods or found
    draw = random.Random(arguments.seed)
    kills = divergences = 0
    for method in methods:
        with tempfile.TemporaryDirectory() as folder:
            killed, differing = torture(method, Path(folder), arguments.kills / len(methods), draw)
        print(f"{method:18} {killed:3} kills  {differing or 'equal'}", flush=True)
        kills, divergences = kills + killed, divergences + bool(differing)
    print(f"{kills} kills over {len(methods)} methods, {divergences} divergences")
    sys.exit(divergences > 0)


def torture(method: str, root: Path, kills: float, draw: random.Random) -> tuple[int, str]:
    """Kill one method's run, again and again from the start, until there were enough kills."""
    began = time.monotonic()
    assert start(method, root / "whole", patience=None)
    duration = time.monotonic() - began
    whole = outcome(root / "whole")
    killed = attempt = 0
    while killed < kills:
        attempt += 1
        out = root / f"killed{attempt}"
        while not start(method, out, patience=draw.uniform(0, duration)):
            killed += 1
        if outcome(out) != whole:
            return killed, f"differs at {out.name}: {next(differences(whole, outcome(out)))}"
    return killed, ""


def start(method: str, out: Path, patience: float | None) -> bool:
    """Run in a child; kill it when patience ends. Whether it finished."""
    child = os.fork()
    if child == 0:
        run(method, out)
    deadline = None if patience is None else time.monotonic() + patience
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the run itself failed"
            return not os.WIFSIGNALED(status)
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)


def run(method: str, out: Path) -> None:
    """The child: one run, as the command line makes it."""
    config = compose(*SMALL, f"method={method}", f"out={out}", f"results={out}/results")
    choices = {"model": "wrn10_2", "method": method}
    with Path(os.devnull).open("w") as sys.stdout:
        build(config).execute(recorded(config), choices)
    os._exit(0)


def outcome(out: Path) -> dict[str, Any]:
    """What must not depend on how often the run was killed."""
    (path,) = out.rglob("record.json")
    record = json.loads(path.read_text())
    curves = {key: curve for key, curve in record["curves"].items() if key != "seconds"}
    state = Checkpoints(path.parent / "checkpoints").load()
    assert state is not None
    history = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in state["history"]]
    state["loop"]["counters"].pop()  # seconds
    tensors = dict(flattened("", state["loop"]))
    return {"metrics": record["metrics"], "curves": curves, "history": history} | tensors


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


def differences(a: dict[str, Any], b: dict[str, Any]) -> Iterator[str]:
    """The names under which two outcomes differ."""
    return (key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key))


if __name__ == "__main__":
    main()
