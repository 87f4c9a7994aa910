"""Data-parallel training: one process (rank) per device. A single process communicates nothing.

torchrun starts the ranks, or any launcher that sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT
(`slurm` sets them under srun). Each rank trains on its shard of every batch. Loss, gradients and
BatchNorm's running statistics are averaged over the whole batch, so that after every step all ranks
have the same network. A rank that fails exits with its own error, and torchrun ends the others.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from textwrap import shorten
from typing import Any, TypeVar

import torch
import torch.distributed as dist

# Optimizers import this module. Imported after the process group exists, its functions' defaults
# would keep the group alive, and with it gloo's threads, which may then abort at interpreter exit.
import torch.distributed.nn.functional
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.distributed import PrefixStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.rendezvous import rendezvous

from vicinal.errors import RunError

ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
TIMEOUT = timedelta(minutes=30)  # for a rank that is alive but does not answer

Value = TypeVar("Value")


class LostRankError(RunError):
    """Another rank exited or hangs; this one is not at fault."""


def join(device: str) -> None:
    """Join the process group, once per process, if a launcher set one up; on CUDA, take a GPU."""
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
    """Leave the process group when all runs are done."""
    if dist.is_initialized():
        dist.destroy_process_group()


def world_size() -> int:
    """The number of ranks."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this rank."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is rank zero, which writes and prints."""
    return rank() == 0


def shard(rows: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "m ..."]:
    """This rank's shard of a batch, in order.

    A batch at the end of an epoch may have fewer samples than there are ranks. Each rank then takes
    all of them, so that no method sees an empty batch and every rank joins every collective.
    """
    return rows.tensor_split(world_size())[rank()] if len(rows) >= world_size() else rows


def smallest_shard(whole: int) -> int:
    """The samples of the rank that `shard` gives fewest of a batch."""
    return whole // world_size() or whole


def share(mine: int, whole: int) -> float:
    """The weight of a mean over `mine` samples: the ranks' weighted sum is the mean of `whole`."""
    if world_size() == 1:
        return 1.0
    return mine / whole if whole >= world_size() else 1 / world_size()


def broadcast_object(ask: Callable[[], Value]) -> Value:
    """Call `ask` on rank zero and broadcast its result."""
    if world_size() == 1:
        return ask()
    found: list[Any] = [ask() if is_main() else None]
    with _lost_rank_errors():
        dist.broadcast_object_list(found)
    return found[0]


def all_gather_object(mine: Value) -> list[Value]:
    """Gather an object from every rank, in the order of ranks."""
    if world_size() == 1:
        return [mine]
    found: list[Any] = [None] * world_size()
    with _lost_rank_errors():
        dist.all_gather_object(found, mine)
    return found


def all_reduce_(values: Tensor) -> Tensor:
    """Sum over the ranks in place; all ranks get the same bits."""
    if world_size() > 1:
        with _lost_rank_errors():
            dist.all_reduce(values)
    return values


def all_reduce_async_(values: Tensor) -> Callable[[], None]:
    """Start to sum over the ranks in place; call the returned function to wait for the sum."""
    with _lost_rank_errors():
        work = dist.all_reduce(values, async_op=True)

    def wait() -> None:
        with _lost_rank_errors():
            work.wait()

    return wait


def all_gather(values: Shaped[Tensor, " k"]) -> Shaped[Tensor, "r k"]:
    """Gather a vector from every rank, one row per rank."""
    rows = values.new_empty(world_size() * len(values))
    with _lost_rank_errors():
        dist.all_gather_into_tensor(rows, values)
    return rows.view(world_size(), -1)


def all_gather_rows(own: Sequence[Shaped[Tensor, "m ..."]]) -> list[Shaped[Tensor, "n ..."]]:
    """Join the ranks' shards of each of these tensors, on the CPU."""
    shards = all_gather_object([rows.cpu() for rows in own])
    return [torch.cat(each) for each in zip(*shards, strict=True)]


def barrier() -> None:
    """Wait until all ranks get here."""
    all_gather_object(None)


@contextmanager
def local_main_first() -> Iterator[None]:
    """The first rank of each node goes first, to download or cache files for the others."""
    later = world_size() > 1 and os.environ.get("LOCAL_RANK", "0") != "0"
    if later:
        barrier()
    yield
    if not later:
        barrier()


@torch.no_grad()
def broadcast_parameters(model: nn.Module) -> None:
    """Copy the weights and buffers of rank zero to all ranks."""
    for values in [*model.parameters(), *model.buffers()] if world_size() > 1 else ():
        sent = values.contiguous()
        with _lost_rank_errors():
            dist.broadcast(sent, 0)
        values.copy_(sent)


def _local_gpu() -> int:
    """The GPU of this rank on its node; the only one where Slurm shows each task its own."""
    local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if gpus == 1 and local < int(os.environ.get("SLURM_GPUS_ON_NODE", "0")):
        return 0
    if local >= gpus:
        raise RunError(f"ranks per node must be at most its GPUs, {gpus}, got local rank {local}")
    return local


def _attempt() -> str:
    """Which start of the job this is: restarted ranks must not connect to those that were ended.

    On one node torchrun keeps its store, which still has their addresses. On several nodes, whose
    restart counts may differ, each start has its own store.
    """
    one_node = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if one_node else ""


@contextmanager
def _lost_rank_errors() -> Iterator[None]:
    """Turn the RuntimeErrors of collectives into errors that blame another rank."""
    try:
        yield
    except RuntimeError as error:
        raise LostRankError(
            "another rank was lost; unless it was killed, its own message says why "
            f"({shorten(str(error), 120)})"
        ) from error
