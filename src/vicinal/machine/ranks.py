"""The processes that train one network together, one a device; alone, none of this does anything.

torchrun starts them, or whatever else sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT (`slurm`
does for srun). Each has its share of every batch; what the loss, the gradients and BatchNorm's
running statistics are is the mean over the whole batch, so that after every step the network is the
same on all ranks. A rank that fails leaves by its own error, and torchrun ends the others.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from textwrap import shorten
from typing import Any, TypeVar

import torch
import torch.distributed as dist

# Optimizers import this. Once there is a group, its functions' defaults would keep that, and with
# it gloo's threads, which then outlive `leave` and at times abort at the interpreter's end.
import torch.distributed.nn.functional
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.distributed import PrefixStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.rendezvous import rendezvous

from vicinal.errors import RunError

ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
TIMEOUT = timedelta(minutes=30)  # with a rank that lives but does not answer

Value = TypeVar("Value")


class LostRankError(RunError):
    """Another rank stopped or hangs; this one did nothing wrong."""


def join(device: str) -> None:
    """Meet the other ranks, once a process, if there are any; on CUDA, each takes its own GPU."""
    if dist.is_initialized() or not all(name in os.environ for name in ENVIRONMENT):
        return
    if os.environ["WORLD_SIZE"] == "1":
        return
    if device == "cuda":
        torch.cuda.set_device(_local_gpu())
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    with _lost_rank_errors():
        store, number, size = next(rendezvous("env://", timeout=TIMEOUT))
        place = PrefixStore(f"vicinal{_attempt()}", store)
        dist.init_process_group(backend, store=place, rank=number, world_size=size, timeout=TIMEOUT)


def leave() -> None:
    """Part from the others, when all is done."""
    if dist.is_initialized():
        dist.destroy_process_group()


def world_size() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is the one that writes and prints."""
    return rank() == 0


def shard(rows: Shaped[Tensor, " n"]) -> Shaped[Tensor, " m"]:
    """This rank's share of a batch, in order.

    Where there are fewer samples than ranks, at the end of an epoch, each takes all of them: no
    method is asked for the loss of no samples, and no rank is missed where others wait for it.
    """
    return rows.tensor_split(world_size())[rank()] if len(rows) >= world_size() else rows


def weighted(loss: Tensor, mine: int, whole: int) -> Tensor:
    """What the mean of `mine` of `whole` samples adds to the mean over the batch."""
    if world_size() == 1:
        return loss
    return loss * (mine / whole if whole >= world_size() else 1 / world_size())


def broadcast_object(ask: Callable[[], Value]) -> Value:
    """What the first rank finds; the others do not ask."""
    if world_size() == 1:
        return ask()
    found: list[Any] = [ask() if is_main() else None]
    with _lost_rank_errors():
        dist.broadcast_object_list(found)
    return found[0]


def all_gather_object(mine: Value) -> list[Value]:
    """What each rank says, in their order."""
    if world_size() == 1:
        return [mine]
    found: list[Any] = [None] * world_size()
    with _lost_rank_errors():
        dist.all_gather_object(found, mine)
    return found


def all_reduce_(values: Tensor) -> Tensor:
    """The sum over the ranks, in place and in the same bits on all of them."""
    if world_size() > 1:
        with _lost_rank_errors():
            dist.all_reduce(values)
    return values


def all_reduce_async_(values: Tensor) -> Callable[[], None]:
    """Begin to sum over the ranks, in place; the sum is there once what this returns returns."""
    with _lost_rank_errors():
        work = dist.all_reduce(values, async_op=True)

    def arrive() -> None:
        with _lost_rank_errors():
            work.wait()

    return arrive


def all_gather(values: Shaped[Tensor, " k"]) -> Shaped[Tensor, "r k"]:
    """One row from each rank."""
    rows = values.new_empty(world_size() * len(values))
    with _lost_rank_errors():
        dist.all_gather_into_tensor(rows, values)
    return rows.view(world_size(), -1)


def barrier() -> None:
    """Until all ranks are here."""
    all_gather_object(None)


@contextmanager
def local_main_first() -> Iterator[None]:
    """The first of each node goes first, to download or to cache what the others then find."""
    later = world_size() > 1 and os.environ.get("LOCAL_RANK", "0") != "0"
    if later:
        barrier()
    yield
    if not later:
        barrier()


@torch.no_grad()
def broadcast_parameters(model: nn.Module) -> None:
    """The first rank's weights and buffers on all."""
    for values in [*model.parameters(), *model.buffers()] if world_size() > 1 else ():
        sent = values.contiguous()
        with _lost_rank_errors():
            dist.broadcast(sent, 0)
        values.copy_(sent)


def _local_gpu() -> int:
    """By the rank's place on its node; where Slurm shows each task only its own, that one."""
    local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if gpus == 1 and local < int(os.environ.get("SLURM_GPUS_ON_NODE", "0")):
        return 0
    if local >= gpus:
        raise RunError(f"there are {gpus} GPUs on this node, too few for rank {local} of it")
    return local


def _attempt() -> str:
    """Which start of the job this is: a restarted rank must not call those that were ended.

    On one node torchrun keeps its store, and in it their addresses; on several, where the nodes may
    count differently, each start has a store of its own.
    """
    one_node = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if one_node else ""


@contextmanager
def _lost_rank_errors() -> Iterator[None]:
    """Where ranks meet, a failure is another's: torch has RuntimeErrors for that."""
    try:
        yield
    except RuntimeError as error:
        raise LostRankError(
            "another rank was lost; unless it was killed, its own message says why "
            f"({shorten(str(error), 120)})"
        ) from error
