"""Forks of a test's process as the ranks of one job, and what they train."""

import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # optimizers do when they are first made: once, not in each fork
from torch import nn

from vicinal.contracts import Method
from vicinal.data.batches import Batches
from vicinal.data.dataset import Data
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.loop import Loop
from vicinal.machine import ranks
from vicinal.machine.runtime import Runtime
from vicinal.machine.synced_norms import sync_norms
from vicinal.models.normalized import Normalized
from vicinal.models.wide_resnet import WideResNet
from vicinal.optim import Optimizer, Sgd
from vicinal.schedules import Constant, Schedule
from vicinal.vicinities.identity import Identity

SMALL = (
    "dataset=digits dataset.size=8 dataset.train_per_class=6 dataset.holdout_per_class=2 "
    "model=wrn10_2 runtime=cpu runtime.threads=1 runtime.checkpoint_seconds=0 "
    "runtime.progress=false schedule.epochs=2 schedule.batch_size=24 clean.batch_size=100"
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


BATCH = 8
AVERAGED = Sgd(lr=0.05, weight_decay=0.1, ema_decay=0.5)


def data(count: int, unlabelled: int = 9) -> Data:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 3, 8, 8, generator=generator)
    split = Split(x, torch.arange(count) % 4)
    few = split[torch.arange(unlabelled) % count]
    return Data(split, split, None, 4, (0.5,) * 3, (0.2,) * 3, {}, None, few)


def network(norms: bool, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    body = WideResNet(10, 1, num_classes=4, shape=(3, 8, 8))
    if not norms:
        for name, module in list(body.named_modules()):
            if isinstance(module, nn.BatchNorm2d):
                body.set_submodule(name, nn.Identity())
    return Normalized(body, (0.5,) * 3, (0.2,) * 3)


def loop(
    method: Method,
    samples: Data,
    *,
    norms: bool,
    synced: bool = False,
    seed: int = 0,
    accumulate: int = 1,
    optimizer: Optimizer = AVERAGED,
) -> Loop:
    model = method.prepare(network(norms, seed))
    schedule = Schedule(epochs=2, batch_size=BATCH, curve=Constant())
    return Loop(
        sync_norms(model) if synced else model,
        method.attach(samples),
        Batches(samples.train, 4, BATCH, Identity(), 0, samples.unlabelled),
        optimizer=optimizer,
        schedule=schedule,
        runtime=Runtime(device="cpu", accumulate=accumulate),
        rng=Rng.seeded(0, ranks.rank()),
    )


def trained(of: Loop) -> dict[str, Any]:
    """The weights and losses after two epochs."""
    losses = []
    for _ in range(2):
        for _ in of.steps():
            pass
        losses.append(of.close_epoch()["train_loss"])
    return {"state": of.model.state_dict(), "average": of.network.state_dict(), "losses": losses}
