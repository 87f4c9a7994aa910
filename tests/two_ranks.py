"""Forks of a test's process as the ranks of one job."""

import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vicinal.machine import ranks

SMALL = (
    "dataset=digits dataset.size=8 dataset.train_per_class=6 dataset.holdout_per_class=2 "
    "model=wrn10_2 runtime=cpu runtime.threads=1 runtime.checkpoint_seconds=0 "
    "runtime.progress=false schedule.epochs=2 schedule.batch_size=24 evaluation.batch_size=100"
).split()


def on_two(task: Callable[[], Any], folder: Path, world: int = 2) -> list[Any]:
    """What a function finds on each of two ranks: forks of this process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            _rank(task, rank, world, port, folder)
        children.append(child)
    failed = [os.waitpid(child, 0)[1] for child in children]
    assert not any(failed), failed
    paths = [folder / f"found{rank}.pt" for rank in range(world)]
    return [torch.load(path, weights_only=False) for path in paths]


def _rank(task: Callable[[], Any], rank: int, world: int, port: int, folder: Path) -> None:
    try:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        ranks.join("cpu")
        torch.save(task(), folder / f"found{rank}.pt")
        ranks.leave()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
