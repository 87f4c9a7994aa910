"""How training grows: with the batch, the network's width, MaxUp's copies, ranks, sub-networks."""

import json
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benches.drawn import composed, drawn_data, endless
from benches.racing import now
from benches.steps import STEPS, measure
from vicinal.machine import ranks
from vicinal.run import Run

MODEL = "wrn10_2"  # whose width is varied
SHARED = ("schedule.batch_size=32", "runtime.threads=1", "runtime.progress=false")
QUIET = "optimizer.lr=1e-6"  # random images must not make it diverge
ON_CPU = "runtime=cpu"
WARM, TIMED = 2, 5  # steps of a rank

Seconds = dict[int, float]


def by_batch(sizes: Sequence[int], rounds: int, overrides: Sequence[str]) -> Seconds:
    """Seconds per step of plain training."""
    return _in_turns({n: (f"schedule.batch_size={n}",) for n in sizes}, rounds, overrides)


def by_width(sizes: Sequence[int], rounds: int, overrides: Sequence[str]) -> Seconds:
    """Seconds per step of networks that many times as wide as the narrowest."""
    return _in_turns({n: (f"model.width={n}",) for n in sizes}, rounds, overrides)


def by_copies(sizes: Sequence[int], rounds: int, overrides: Sequence[str]) -> Seconds:
    """Seconds per step of MaxUp."""
    lines = {n: ("method=maxup_cutout", f"method.copies={n}") for n in sizes}
    return _in_turns(lines, rounds, overrides)


def by_ranks(sizes: Sequence[int], rounds: int, overrides: Sequence[str]) -> Seconds:
    """Seconds per step of one batch, shared by gloo ranks on this machine's cores."""
    found: dict[int, list[float]] = {n: [] for n in sizes}
    for _ in range(rounds):
        for n in sizes:
            found[n].append(_of_ranks(n, overrides))
    return {n: median(each) for n, each in found.items()}


def by_subnets(sizes: Sequence[int], rounds: int, overrides: Sequence[str]) -> dict[int, float]:
    """Bytes of all tensors that a step of GradAug holds at once, on a CPU; exact in one round."""
    return {n: float(_peak(n, overrides)) for n in sizes}


def maxup_work(copies: float) -> float:
    """Forwards without gradient, a third of a step each, and a step; a single copy is not chosen.

    A backward pass takes as long as two forward passes.
    """
    return 1 + copies / 3 if copies > 1 else 1.0


def _in_turns(lines: dict[int, tuple[str, ...]], rounds: int, overrides: Sequence[str]) -> Seconds:
    """Medians over rounds; on a CPU the time of its one thread, which neighbours hardly change."""
    runs = {str(n): _run(*overrides, *own) for n, own in lines.items()}
    on_gpu = any(run.runtime.target == "cuda" for run in runs.values())
    contenders = {name: _steps(run) for name, run in runs.items()}
    seconds = measure(contenders, rounds, now if on_gpu else process_time)
    return {int(name): median(each) for name, each in seconds.items()}


def _run(*overrides: str) -> Run:
    run = composed(f"model={MODEL}", QUIET, *SHARED, *overrides)
    run.runtime.start()
    return run


def _steps(run: Run) -> Iterator[int]:
    return endless(run.loop(drawn_data(STEPS * run.schedule.batch_size, run.runtime.target)))


def _peak(subnets: int, overrides: Sequence[str]) -> int:
    """Of the second step: in the first, the optimizer allocates what it keeps."""
    own = ("method=gradaug", f"method.num_subnets={subnets}", ON_CPU)
    steps = _steps(_run(*overrides, *own))
    next(steps)
    with Held() as held:
        next(steps)
    return held.most


class Held(TorchDispatchMode):
    """Counts the bytes of the tensors that are made under it, for as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.most = 0
        self._known = set[int]()

    def __torch_dispatch__(
        self, operation: Any, types: Any, inputs: Any = (), options: Any = None
    ) -> Any:
        found = operation(*inputs, **(options or {}))
        if not operation.is_view and not operation._schema.is_mutable:
            for tensor in filter(torch.is_tensor, tree_leaves(found)):
                self._count(tensor)
        return found

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._known:  # some operations return what they were given
            return
        self._known.add(storage._cdata)
        self.bytes += storage.nbytes()
        self.most = max(self.most, self.bytes)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, storage: int, size: int) -> None:
        self._known.discard(storage)
        self.bytes -= size


def _of_ranks(world: int, overrides: Sequence[str]) -> float:
    """Start the ranks, each a process with one thread, and ask rank zero."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), *sys.path)))
    command = [sys.executable, "-m", "benches.growth_steps", *overrides, ON_CPU]
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": str(i), "LOCAL_RANK": str(i), "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(world)
    ]
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"a rank of {world} failed; its own message says why")
    return float(json.loads(said[0]))


def rank(overrides: Sequence[str]) -> float:
    """Seconds per step of this rank."""
    ranks.join("cpu")
    steps = _steps(_run(*overrides))
    seconds = list[float]()
    for _ in range(WARM + TIMED):
        began = perf_counter()
        next(steps)
        seconds.append(perf_counter() - began)
    ranks.leave()
    return median(seconds[WARM:])


if __name__ == "__main__":
    print(json.dumps(rank(sys.argv[1:])))
