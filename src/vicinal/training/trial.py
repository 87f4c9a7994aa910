"""What a run can check before it trains: that method, network, data and batch fit together."""

import traceback
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from vicinal.cli.sweeps import Search
from vicinal.contracts import Memory, Method
from vicinal.data.batches import Feed
from vicinal.data.dataset import Dataset, RunData
from vicinal.draws import Rng
from vicinal.errors import RunError, SearchError
from vicinal.evaluation.another import Another
from vicinal.evaluation.cost import Cost
from vicinal.evaluation.evaluation import Evaluation, Measure, Transferable
from vicinal.evaluation.perplexity import Perplexity
from vicinal.loggers.logger import Logger
from vicinal.loop import Loop
from vicinal.machine import ranks
from vicinal.machine.pieces import Piece, num_pieces
from vicinal.machine.runtime import Runtime
from vicinal.optim import Optimizer
from vicinal.schedules import Schedule
from vicinal.storage.starts import Start
from vicinal.surgery.modes import evaluating

PARTS = {
    "dataset": Dataset,
    "method": Method,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "clean": Measure,
    "runtime": Runtime,
    "logger": Logger,
}

FEW = 2  # samples that stand for any larger number


def check_parts(parts: Mapping[str, Any]) -> None:
    """Refuse parts of a run that are of the wrong kind."""
    for name, kind in PARTS.items():
        if not isinstance(part := parts[name], kind):
            where = f"{kind.__module__}.{kind.__qualname__}"
            raise ValueError(f"{name} must be a {kind.__name__} ({where}), got {_kind(part)}")
    if not isinstance(parts["init"], Start | None):
        raise ValueError(f"init must be a Start, got {_kind(parts['init'])}")
    for name, each in parts["evaluation"].items():
        if not isinstance(each, Evaluation):
            raise ValueError(f"evaluation.{name} must be an Evaluation, got {_kind(each)}")


def check_ranks(batch_size: int, accumulate: int, folder: Path) -> None:
    """Refuse a batch without equal shards and pieces, and ranks that were given different runs."""
    if batch_size % ranks.world_size():
        raise ValueError(
            f"schedule.batch_size must be a multiple of the {ranks.world_size()} ranks, "
            f"got {batch_size} (it is the batch of all ranks together)"
        )
    own = batch_size // ranks.world_size()
    if own % accumulate:
        of_each = " of each rank" if ranks.world_size() > 1 else ""
        raise ValueError(
            f"runtime.accumulate must divide the {own} samples of a batch{of_each}, "
            f"got {accumulate} (all pieces are of one size)"
        )
    others = set(ranks.all_gather_object(str(folder))) - {str(folder)}
    if others:
        raise RunError(f"all ranks must train one run, got {folder} and {', '.join(others)}")


def check_measures(clean: Measure, evaluations: Mapping[str, Evaluation], data: RunData) -> None:
    """Refuse what measures data of another kind."""
    found: list[tuple[str, Any, str, object]] = [("clean", clean, "split", data.train)]
    found += [(f"evaluation.{name}", each, "data", data) for name, each in evaluations.items()]
    for name, each in evaluations.items():
        if isinstance(each, Cost):
            data.check_method(f"evaluation.{name}.baseline", each.baseline)
    for key, each, argument, given in found:
        takes = get_type_hints(type(each).__call__).get(argument, object)
        if takes is not Any and not isinstance(given, takes):
            raise RunError(
                f"{key} must measure {type(given).__name__}, got {type(each).__name__}, which "
                f"measures {takes.__name__} (choose another with {key.partition('.')[0]}=NAME)"
            )


def check_reports(reports: Sequence[str], restarts: int, data: RunData) -> None:
    """Refuse what needs a hold-out where there is none."""
    if "best_valid" in reports and data.valid is None:
        raise ValueError("reports must not name best_valid without a hold-out")
    if restarts and data.valid is None:
        raise ValueError("schedule.restarts must be 0 without a hold-out")


def check_search(search: Search | None, dataset: Dataset, clean: Measure, data: RunData) -> None:
    """Refuse to search for settings by the test set, or for the worst ones."""
    if search is None:
        return
    if data.valid is None:
        way = "no setting of this dataset makes one"
        if hasattr(dataset, "holdout_per_class"):
            way = "dataset.holdout_per_class=N makes one"
        raise SearchError(
            f"hydra/sweeper must be basic without a hold-out, got {search.sweeper}, which would "
            f"choose by test numbers ({way})"
        )
    of, better = "accuracy", "maximize"
    if isinstance(clean, Perplexity):
        of, better = "perplexity", "minimize"
    if search.directions and search.directions != (better,):
        raise SearchError(
            f"hydra.sweeper.direction must be {better}, got {', '.join(search.directions)} "
            f"(runs return the {of} on validation data)"
        )


def check_sources(evaluations: Mapping[str, Evaluation], out: Path) -> None:
    """Refuse another run that an evaluation needs and that is not there, before the training."""
    for each in evaluations.values():
        if isinstance(each, Transferable) and each.source is not None:
            Another.at(each.source, out)


def check_network(model: nn.Module, sample: Tensor) -> None:
    """Refuse a network that does not take such samples."""
    try:
        with evaluating(model), torch.no_grad():
            model(sample)
    except RuntimeError as error:
        reason, shape = str(error).splitlines()[0], tuple(sample.shape[1:])
        raise ValueError(f"model does not take inputs of {shape}: {reason}") from error


def rehearse(loop: Loop) -> None:
    """Refuse in one line what would fail during training; the loop is left exactly as it is.

    A copy of the network runs forward once under each of the run's methods, in train mode, on as
    few samples as the smallest batch has: BatchNorm on a 1 x 1 map fails on a single sample.
    """
    count = min(smallest_piece(loop.batches, loop.runtime.accumulate), FEW)
    failure = _failure(loop, count)
    if failure is None:
        return
    said = (str(failure).splitlines() or [""])[0]
    if count == 1 and _failure(loop, FEW) is None:
        raise RunError(
            "schedule.batch_size must leave more than one sample for every batch"
            f"{_of_each(loop.runtime.accumulate)}, got {loop.batches.batch_size} for "
            f"{loop.batches.samples(0)} training samples ({said})"
        ) from failure
    last = [frame for frame, _ in traceback.walk_tb(failure.__traceback__)][-1]
    if last.f_globals.get("__name__", "").startswith("vicinal."):
        raise failure
    raise RunError(
        f"method, model and dataset do not fit together: a step on {count} samples "
        f"ends in {type(failure).__name__}: {said} "
        "(HYDRA_FULL_ERROR=1 shows where)"
    ) from failure


def smallest_piece(batches: Feed, accumulate: int = 1) -> int:
    """The fewest rows that go through the network at a time."""
    sizes = (batches.extent(0, number).rows for number in (0, batches.steps(0) - 1))
    return min(size // num_pieces(size, accumulate) for size in map(ranks.smallest_shard, sizes))


def _of_each(accumulate: int) -> str:
    """Among what a batch is divided."""
    parts = [f"{ranks.world_size()} ranks"] if ranks.world_size() > 1 else []
    parts += [f"{accumulate} pieces (runtime.accumulate)"] if accumulate > 1 else []
    return f" of each of the {' x '.join(parts)}" if parts else ""


def _kind(part: object) -> str:
    """An object of the wrong kind, as its config names it."""
    if isinstance(part, partial):
        return f"{part.func.__name__} with _partial_: true"
    return type(part).__name__


def _failure(loop: Loop, count: int) -> Exception | None:
    """The first error of these passes, on random samples and with separate generators."""
    target, batches = loop.runtime.target, loop.batches
    twin = copy(loop)
    twin.model, twin.rng = deepcopy(loop.model).train(), Rng.seeded(0, ranks.rank(), target)
    drawing = [torch.cuda.current_device()] if target == "cuda" else []
    try:
        with torch.random.fork_rng(drawing):
            for twin.epoch in {0, loop.schedule.warmup_method_epochs}:  # of either method
                x, y, rows = batches.trial(count, twin.rng)
                for _ in twin.terms(Piece(twin.runtime.layout(x), y, rows, Memory())):
                    pass
    except Exception as error:  # a network may raise anything
        return error
    return None
