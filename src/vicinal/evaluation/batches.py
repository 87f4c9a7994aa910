"""The batches of an evaluation, shared between the ranks."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor, nn

from vicinal.contracts import Inputs
from vicinal.data.batches import as_inputs
from vicinal.data.dataset import Data
from vicinal.data.split import Labels, Part, Rows
from vicinal.errors import RunError
from vicinal.machine import ranks
from vicinal.surgery.modes import evaluating


def rank_batches(
    model: nn.Module, split: Part, batch_size: int, rows: Rows | None = None
) -> Iterator[tuple[Inputs, Labels, Rows]]:
    """This rank's batches of these rows (default: all) on the network's device.

    A batch comes with its own rows, on the CPU.
    """
    device = device_of(model, split.y)
    mine = rank_rows(torch.arange(len(split)) if rows is None else rows, batch_size)
    for own, (x, y, _) in zip(mine, split.batches(mine), strict=True):
        inputs = as_inputs(x.to(device, non_blocking=True))
        yield inputs, y.to(device, non_blocking=True), own


def rank_rows(rows: Rows, batch_size: int) -> list[Rows]:
    """The rows of this rank's batches.

    These are some of the batches of a single process, so that a sample's logits do not depend on
    the number of ranks.
    """
    batches = rows.split(batch_size) if len(rows) else ()
    return list(batches)[ranks.rank() :: ranks.world_size()]


def hits_of_all(
    model: nn.Module,
    split: Part,
    batch_size: int,
    is_hit: Callable[[Inputs, Labels, Rows], Shaped[Tensor, " m"]],
) -> Float64[Tensor, " n"]:
    """1 for every sample, of all ranks, that counts as a hit."""
    found = torch.zeros(len(split), dtype=torch.float64, device=device_of(model, split.y))
    with evaluating(model), torch.no_grad():
        for x, y, rows in rank_batches(model, split, batch_size):
            found[rows.to(found.device)] = is_hit(x, y, rows).double()
    return ranks.all_reduce_(found)


def device_of(model: nn.Module, otherwise: Tensor) -> torch.device:
    """The network's device; that of another tensor if it has no parameters."""
    return next((p.device for p in model.parameters()), otherwise.device)


def check_image_data(data: Data) -> None:
    """Refuse data that are not images: attacks keep pixels in [0, 1]."""
    if not data.pixels:
        shape = data.test.shape
        raise RunError(f"dataset must have images to attack, got samples of shape {shape}")


def check_batch_size(batch_size: int) -> None:
    """Refuse batches without samples."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
