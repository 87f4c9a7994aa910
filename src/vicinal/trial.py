"""What a run can check before it trains: that method, network, data and batch fit together."""

import traceback
from collections.abc import Mapping
from copy import copy, deepcopy
from pathlib import Path

import torch
from torch import nn

from vicinal.contracts import Method, image_parts
from vicinal.data.batches import Batches
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.loop import Loop
from vicinal.machine import ranks
from vicinal.surgery.modes import evaluating

FEW = 2  # samples that stand for any larger number


def check_ranks(batch_size: int, folder: Path) -> None:
    """Refuse a batch that ranks cannot share evenly, and ranks that were given different runs."""
    if batch_size % ranks.world_size():
        raise ValueError(
            f"schedule.batch_size must be a multiple of the {ranks.world_size()} ranks, "
            f"got {batch_size} (it is the batch of all ranks together)"
        )
    others = set(ranks.all_gather_object(str(folder))) - {str(folder)}
    if others:
        raise RunError(f"all ranks must train one run, got {folder} and {', '.join(others)}")


def check_samples(methods: Mapping[str, Method | None], shape: tuple[int, ...]) -> None:
    """Refuse parts that take only images where a sample is a vector; `methods` are by key."""
    for name, method in methods.items() if len(shape) != 3 else ():
        for key, kind in image_parts(method, name):
            raise RunError(
                f"{key} must take feature vectors with this dataset, got {kind}, which needs "
                f"images (a sample is {' x '.join(map(str, shape))} numbers)"
            )


def check_network(model: nn.Module, shape: tuple[int, ...], device: str) -> None:
    """Refuse a network that does not take such samples."""
    try:
        with evaluating(model), torch.no_grad():
            model(torch.zeros(1, *shape, device=device))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"model does not take inputs of {shape}: {reason}") from error


def rehearse(loop: Loop) -> None:
    """Refuse in one line what would fail during training; the loop is left exactly as it is.

    A copy of the network runs forward once under each of the run's methods, in train mode, on as
    few samples as the smallest batch has: BatchNorm on a 1 x 1 map fails on a single sample.
    """
    count = min(smallest_share(loop.batches), FEW)
    failure = _failure(loop, count)
    if failure is None:
        return
    said = (str(failure).splitlines() or [""])[0]
    if count == 1 and _failure(loop, FEW) is None:
        of_each = f" of each of the {ranks.world_size()} ranks" if ranks.world_size() > 1 else ""
        raise RunError(
            f"schedule.batch_size must leave more than one sample for every batch{of_each}, got "
            f"{loop.batches.batch_size} for {len(loop.batches.split)} training samples ({said})"
        ) from failure
    last = [frame for frame, _ in traceback.walk_tb(failure.__traceback__)][-1]
    if last.f_globals.get("__name__", "").startswith("vicinal."):
        raise failure
    raise RunError(
        f"method, model and dataset do not fit together: a step on {count} samples of "
        f"{loop.batches.split.shape} ends in {type(failure).__name__}: {said} "
        "(HYDRA_FULL_ERROR=1 shows where)"
    ) from failure


def smallest_share(batches: Batches) -> int:
    """The fewest samples that a rank is given at a time."""
    sizes = batches.size(0), batches.size(len(batches) - 1)
    return min(size // ranks.world_size() or size for size in sizes)  # see ranks.shard


def _failure(loop: Loop, count: int) -> Exception | None:
    """The first error of these passes, on random samples and with separate generators."""
    target, batches = loop.runtime.target, loop.batches
    twin = copy(loop)
    twin.model, twin.rng = deepcopy(loop.model).train(), Rng.seeded(0, ranks.rank(), target)
    rows = torch.arange(count, device=target)
    y = torch.eye(batches.num_classes, device=target)[rows % batches.num_classes]
    x = torch.rand(count, *batches.split.shape, generator=twin.rng.device, device=target)
    drawing = [torch.cuda.current_device()] if target == "cuda" else []
    try:
        with torch.random.fork_rng(drawing):
            for twin.epoch in {0, loop.schedule.warmup_method_epochs}:  # of either method
                given = batches.augment(x, y, twin.rng)
                for _ in twin.terms(twin.runtime.layout(given[0]), given[1], rows):
                    pass
    except Exception as error:  # a network may raise anything
        return error
    return None
