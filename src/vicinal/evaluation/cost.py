"""What a training step of a run costs here, beside one of plain training: time, memory, arithmetic.

Paper:    Yang et al., GradAug, NeurIPS 2020, arXiv 2006.07989, Table 2 (memory, minutes per epoch,
          hours); Wang et al., AugMax, NeurIPS 2021, arXiv 2110.13771, Table 7 (seconds per epoch)
Code:     none released for either
Differs:  plain training (`baseline`) is timed beside the method in one process, turn by turn, since
          seconds on another card say nothing; the ratio of the two does. Both begin with random
          weights and stay there, so what a method does later in training (friendly adversarial
          training's early stops, for one) is not seen. Memory is what one process allocates for
          weights, optimizer and a step, without the data set and the libraries' own; papers read
          it off the driver.
Cost:     2 x (warmup + 2 x turns x steps) steps and a few more, in networks of their own; the
          network of the run is left alone, and so are its statistics
"""

import gc
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vicinal.contracts import Method, Rows
from vicinal.data.batches import Extent, Feed
from vicinal.data.dataset import RunData
from vicinal.data.decode.pool import AHEAD
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation.evaluation import Numbers, Parts, each
from vicinal.machine import ranks
from vicinal.machine.runtime import Runtime
from vicinal.models.arguments import at_least_one
from vicinal.optim import num_trained
from vicinal.surgery.modes import evaluating

HELD = 4  # batches that steps alone go through again and again
MEBIBYTE = 2**20
KINDS = ("erm_", "")  # beginnings of names: plain training's numbers, and the method's


@runtime_checkable
class Training(Protocol):
    """Training that goes on for as long as it is asked to: `vicinal.loop.Loop`."""

    model: nn.Module
    batches: Feed
    runtime: Runtime
    rng: Rng
    steps_done: int

    def steps(self) -> Iterator[int]:
        """Train through the rest of an epoch, yielding the samples of each batch."""
        ...

    def step(self, x: Tensor, y: Tensor, rows: Rows, extent: Extent) -> None:
        """Update the weights once."""
        ...

    def check(self) -> None:
        """Take in the losses since the last check."""
        ...

    def close_epoch(self) -> dict[str, float]:
        """Complete the epoch."""
        ...


Begin = Callable[[Method | None], Training]  # by this method, or by the run's own


@dataclass(frozen=True)
class Cost:
    """Times steps alone, on batches that lie ready, and fed with data as they come in an epoch.

    `step_ms` and `time_ratio` are of steps alone. `fed_step_ms`, `samples_per_second`,
    `seconds_per_epoch` and `fed_time_ratio` have in them what an epoch waits for: augmentation
    and, of images on disk, decoding. Numbers of plain training begin with `erm_`. All are medians
    over turns, ratios those of the two numbers of one turn. `memory_mb` is measured on CUDA alone.
    """

    baseline: Method  # plain training
    warmup: int = 50
    turns: int = 10
    steps: int = 10  # of a turn

    def __post_init__(self) -> None:
        at_least_one(warmup=self.warmup, turns=self.turns, steps=self.steps)

    def __call__(self, model: nn.Module, data: Any, rng: Rng, parts: Parts = each) -> Numbers:
        raise RunError("evaluation must not be a cost without a run, whose training it times")

    def timed(self, begin: Begin) -> "Timed":
        """The evaluation of a run whose training begins in this way."""
        return Timed(self, begin)


@dataclass(frozen=True)
class Timed:
    """`cost` of a run. All ranks step together; of their seconds and bytes the largest count."""

    cost: Cost
    begin: Begin

    def __call__(self, model: nn.Module, data: Any, rng: Rng, parts: Parts = each) -> Numbers:
        numbers, device = counted(model, data), next(model.parameters()).device
        racing: dict[str, Clocked] = {}
        for kind, method in zip(KINDS, (self.cost.baseline, None), strict=True):
            racing[kind], peak = self._warmed(method, device)
            if peak is not None:
                numbers[f"{kind}memory_mb"] = peak / MEBIBYTE
        for turn in range(self.cost.turns):  # neither is always the first
            for kind in KINDS if turn % 2 else reversed(KINDS):
                racing[kind].turn(self.cost.steps)
        for kind, clocked in racing.items():
            numbers |= {f"{kind}{name}": value for name, value in clocked.numbers().items()}
        return numbers | _ratios(racing["erm_"], racing[""], numbers)

    def _warmed(
        self, method: Method | None, device: torch.device
    ) -> tuple["Clocked", float | None]:
        """Training after its first steps, and the peak of what it allocates in a few more.

        Peaks are of the steps after the first, in which libraries try what is fastest.
        """
        gc.collect()
        before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        training = self.begin(method)
        steps = endless(training)
        taken(steps, self.cost.warmup)
        if device.type != "cuda":
            return Clocked(training, device), None
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        taken(steps, self.cost.steps)
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device) - before
        return Clocked(training, device), max(ranks.all_gather_object(peak))


@dataclass
class Clocked:
    """Training, and the seconds that its turns took: steps alone, and fed ones."""

    training: Training
    device: torch.device
    alone: list[float] = field(default_factory=list)  # per step, by turn
    fed: list[float] = field(default_factory=list)  # likewise
    rates: list[float] = field(default_factory=list)  # samples per second of the fed ones

    def __post_init__(self) -> None:
        feed = self.training.batches
        first = [feed.extent(0, number) for number in range(min(HELD, feed.steps(0)))]
        batches = feed.epoch(0, 0, self.training.rng)
        held = [(*batch, extent) for extent, batch in zip(first, batches, strict=False)]
        self._held = [each for each in held if each[-1].rows == feed.batch_size] or held[:1]

    def turn(self, steps: int) -> None:
        """Time so many steps alone, then so many fed ones."""
        seconds, _ = self._seconds(lambda: self._alone(steps))
        self.alone.append(seconds / steps)
        self.training.check()
        feeding = endless(self.training)
        taken(feeding, AHEAD + 1)  # until no batch is left that was decoded before
        seconds, samples = self._seconds(lambda: taken(feeding, steps))
        self.fed.append(seconds / steps)
        self.rates.append(samples / seconds)

    def numbers(self) -> Numbers:
        """Medians over turns."""
        rate, feed = median(self.rates), self.training.batches
        return {
            "step_ms": 1000 * median(self.alone),
            "fed_step_ms": 1000 * median(self.fed),
            "samples_per_second": rate,
            "seconds_per_epoch": feed.samples(0) / rate,
        }

    def _alone(self, steps: int) -> int:
        """Steps on the batches that are held; the training's place in its epoch stays."""
        place, samples = self.training.steps_done, 0
        for number in range(steps):
            x, y, rows, extent = self._held[number % len(self._held)]
            self.training.step(self.training.runtime.begin_step(x), y, rows, extent)
            samples += extent.samples
        self.training.steps_done = place
        return samples

    def _seconds(self, work: Callable[[], int]) -> tuple[float, int]:
        """What it takes, and its samples; all ranks begin together."""
        ranks.barrier()
        began = self._now()
        samples = work()
        return max(ranks.all_gather_object(self._now() - began)), samples

    def _now(self) -> float:
        """The time once the device has finished all its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return perf_counter()


def counted(model: nn.Module, data: RunData) -> Numbers:
    """Trained parameters, and multiply-adds of one sample (one word) as it is tested.

    Those are half of what torch's FlopCounterMode counts: convolutions and matrix products, not
    biases, normalisation, activations, pooling or sums of branches.
    """
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 (slow to import)

    twin, x = deepcopy(model).to("meta"), data.zeros("meta")
    with evaluating(twin), torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(x)
    samples = len(x) if data.shape else x.numel()
    operations = counter.get_total_flops() / 2 / samples
    return {"parameters": float(num_trained(model)), "multiply_adds": operations}


def endless(training: Training) -> Iterator[int]:
    """Its steps, epoch after epoch."""
    while True:
        yield from training.steps()
        training.close_epoch()


def taken(steps: Iterator[int], count: int) -> int:
    """Take so many steps; how many samples they had."""
    return sum(islice(steps, count))


def _ratios(plain: Clocked, own: Clocked, numbers: Numbers) -> Numbers:
    """The method's time and memory over plain training's."""

    def over(ours: list[float], theirs: list[float]) -> float:
        return median(a / b for a, b in zip(ours, theirs, strict=True))

    # By samples, as the last batch of an epoch may be smaller: fewer per second are more seconds.
    found = {
        "time_ratio": over(own.alone, plain.alone),
        "fed_time_ratio": over(plain.rates, own.rates),
    }
    if "memory_mb" in numbers:
        found["memory_ratio"] = numbers["memory_mb"] / numbers["erm_memory_mb"]
    return found
