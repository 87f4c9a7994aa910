"""Contenders take turns in one process, in rounds of random order, so a slow moment affects all.

Every window is timed from one synchronisation with the device to the next. A contender that fails
is recorded with its error, and the others go on.
"""

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

import torch

Row = dict[str, Any]
NOT_REACHED: Row = {"not_measured": "the budget was spent"}


def now() -> float:
    """The time in seconds, once the device has finished all its work."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return perf_counter()


@dataclass(frozen=True)
class Contender:
    """Starts its steps again in every window; the workers that load for them end with them."""

    steps: Callable[[], Iterator[int]]  # trains; yields the images of each step
    precision: str  # of its convolutions: bf16 or fp32
    # Steps of a window before the clock starts; the timed steps are a multiple of as many. A loader
    # needs both: its queue is full or empty at first, and its workers deliver in bursts.
    lead: int = 1
    settling: int = 0  # steps before its pace is steady, if they are many


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    window: float  # seconds
    warmup: int  # steps
    deadline: float  # by perf_counter; nothing starts after it

    @property
    def spent(self) -> bool:
        """Whether the deadline has passed."""
        return perf_counter() > self.deadline


@dataclass
class Ready:
    """A contender after its warm-up."""

    contender: Contender
    steps: int  # of a window
    row: Row
    rates: list[float] = field(default_factory=list)  # images per second, by round


def race(
    makers: dict[str, Callable[[], Contender]],
    effort: Effort,
    standing: dict[str, Ready] | None = None,
) -> dict[str, Row]:
    """Rows of the contenders, by name; `standing` ones, prepared before, race along."""
    racing, rows = dict(standing or {}), {}
    for ready in racing.values():
        ready.rates.clear()
    for name, make in makers.items():
        if effort.spent:
            rows[name] = dict(NOT_REACHED)
            continue
        try:
            racing[name] = prepared(make, effort)
        except Exception as error:
            rows[name] = {"error": one_line(error)}
        release()
    return rows | rounds(racing, effort) if racing.keys() & makers.keys() else rows


def prepared(make: Callable[[], Contender], effort: Effort) -> Ready:
    """Build, warm up, and find out how many steps fill a window; peak memory is its own alone."""
    on_gpu = torch.cuda.is_initialized()
    began = now()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    contender = make()
    built, steps = now(), contender.steps()
    for _ in range(max(effort.warmup, contender.lead, contender.settling)):
        next(steps)
    warm = now()
    timed = max(2, effort.warmup // 2)
    for _ in range(timed):
        next(steps)
    pace = (now() - warm) / timed
    lead = contender.lead
    row: Row = {
        "precision": contender.precision,
        "build_seconds": built - began,
        "warmup_seconds": warm - built,
        "steps_per_window": lead * ceil(max(2, effort.window / pace) / lead),
    }
    if on_gpu:
        row["peak_bytes"] = torch.cuda.max_memory_allocated() - allocated
        row["reserved_bytes"] = torch.cuda.memory_reserved() - reserved
    return Ready(contender, row["steps_per_window"], row)


def rounds(racing: dict[str, Ready], effort: Effort) -> dict[str, Row]:
    """Run at least one round, and no more once the deadline has passed."""
    rows: dict[str, Row] = {}
    for turn in range(effort.rounds):
        if turn and effort.spent:
            break
        for name in Random(turn).sample(sorted(racing), len(racing)):
            try:
                racing[name].rates.append(window(racing[name]))
            except Exception as error:
                rows[name] = {"error": one_line(error)}
                del racing[name]
    return rows | {name: ready.row | summary(ready.rates) for name, ready in racing.items()}


def summary(rates: list[float]) -> Row:
    """Images per second: the median, the range as a share of it, and every window."""
    middle = median(rates)
    spread = (max(rates) - min(rates)) / middle
    return {"images_per_second": middle, "spread": spread, "windows": list(rates)}


def window(ready: Ready) -> float:
    """Time one window, in images per second."""
    steps = ready.contender.steps()
    for _ in range(ready.contender.lead):
        next(steps)
    began = now()
    images = sum(next(steps) for _ in range(ready.steps))
    return images / (now() - began)


def one_line(error: Exception) -> str:
    """The kind of error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def release() -> None:
    """Free unused memory."""
    gc.collect()
    torch.cuda.empty_cache()
