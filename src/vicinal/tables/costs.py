"""How long a run takes on one GPU: as measured in records, or estimated from its arithmetic.

An estimate counts steps and evaluations. Each takes as long as its arithmetic or as launching its
layers, whichever is longer: a small network waits for its launches. A step takes ERM's time
multiplied by the `work` of its method. Records of other runs of the same network on the same data
set scale the estimate.

A text is read in columns: a step of the estimate is one word of every column, and each recurrent
layer waits for the word before. A run that restarts is taken to need all the epochs that it may
have, which is an upper limit.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from hydra.utils import instantiate

from vicinal.contracts import Method
from vicinal.data.size import Size, size_of
from vicinal.evaluation.evaluation import Counted, Evaluation
from vicinal.tables.networks import Counts, counts

ASSUMED = 1e14  # floating-point operations per second: a tenth of one H200's peak in bf16
LAUNCH = 2e-5  # seconds to launch a layer, forwards or half a backward
# Seconds for a recurrent layer to read a word of every column, forwards or half a backward: 15 to
# 25 ms are expected of an H100 for three layers and 70 words, so 630 such times. Not measured yet.
RECURRENT = 3e-5
MEMORY = 8e10  # bytes on a device
ACTIVATION = 2  # bytes each, in bf16
WEIGHT = 16  # bytes each, with gradient, momentum and a copy in bf16
EVALUATED = 1000  # images per batch, where the run's config does not say how many columns of text


@dataclass(frozen=True)
class Cost:
    """GPU-hours of one run, whether they are measured, and how many ranks its batch needs."""

    hours: float
    measured: bool
    ranks: int = 1

    def __str__(self) -> str:
        how = "measured" if self.measured else "estimated"
        ranks = f", on at least {self.ranks} ranks of {MEMORY / 1e9:.0f} GB"
        return f"{self.hours:.3g} h {how} per run" + (ranks if self.ranks > 1 else "")


@dataclass(frozen=True)
class Costs:
    """What earlier runs and benches took."""

    epochs: dict[str, float]  # seconds per epoch on a GPU, by run name
    scales: dict[str, float]  # measured over estimated, by DATASET/MODEL
    steps: dict[tuple[str, int], float]  # seconds per ERM step, by model and batch, at 32 x 32

    @classmethod
    def known(cls, finished: Iterable[dict[str, Any]], benches: Path) -> "Costs":
        """Read records, and the benches' JSON for what no record says."""
        epochs: dict[str, list[float]] = {}
        scales: dict[str, list[float]] = {}
        for record in finished:
            if record["sessions"][-1]["device"]["type"] == "cuda":
                seconds = record["timing"].get("seconds_per_epoch")
                if seconds is None:  # of a run of no epochs
                    continue
                epochs.setdefault(record["name"], []).append(seconds)
                if (expected := _epoch(record["name"], record["config"], {})) is not None:
                    scales.setdefault(_network(record["name"]), []).append(seconds / expected)
        steps: dict[tuple[str, int], float] = {}
        for bench in (json.loads(path.read_text()) for path in sorted(benches.glob("*.json"))):
            if bench.get("device", {}).get("type") == "cuda" and "erm" in bench.get("steps", {}):
                milliseconds = bench["steps"]["erm"]["milliseconds"]
                steps[bench["model"], bench["batch"]] = milliseconds / 1000
        return cls(_medians(epochs), _medians(scales), steps)

    def of_evaluation(
        self, name: str, config: dict[str, Any], evaluation: dict[str, Any]
    ) -> float | None:
        """The estimated GPU-hours of an evaluation on one report; None if that is not known."""
        dataset = config["dataset"]
        size = size_of(dataset | {"holdout_per_class": 0})
        measured: Evaluation = instantiate(evaluation, _convert_="all")
        if size is None or not size.shape or not isinstance(measured, Counted):
            return None
        valid = (dataset.get("known_size") or {}).get("valid", 0)
        if (passes := measured.passes(size.test - valid)) is None:
            return None
        seconds = _forwards(counts(config["model"], size), size, passes, EVALUATED)
        return self.scales.get(_network(name), 1.0) * seconds / 3600

    def of(self, name: str, config: dict[str, Any]) -> Cost | None:
        """The cost of one run; None if neither a record nor the size of its data is known."""
        measured = name in self.epochs
        epoch = self.epochs[name] if measured else _epoch(name, config, self.steps)
        if epoch is None:
            return None
        scale = self.scales.get(_network(name), 1.0)
        schedule = config["schedule"]
        epochs = schedule["epochs"] * (1 + schedule.get("restarts", 0))
        seconds = epochs * epoch * (1.0 if measured else scale)
        if (size := size_of(config["dataset"])) is None:
            return Cost(seconds / 3600, measured)
        network = counts(config["model"], size)
        evaluations = ceil(epochs / schedule["measure_epochs"])
        batch = config["clean"].get("columns", EVALUATED)
        seconds += evaluations * scale * _forwards(network, size, size.test, batch)
        return Cost(seconds / 3600, measured, _ranks(network, schedule["batch_size"]))


def _epoch(name: str, config: dict[str, Any], steps: dict[tuple[str, int], float]) -> float | None:
    """Estimated seconds for one pass over a run's training images."""
    if (size := size_of(config["dataset"])) is None:
        return None
    batch, model = config["schedule"]["batch_size"], name.split("/")[1]
    work = _work(json.dumps(config["method"]))
    if size.shape == (3, 32, 32) and (model, batch) in steps:
        return work * ceil(size.train / batch) * steps[model, batch]
    # A backward pass takes as long as two forward passes.
    return work * 3 * _forwards(counts(config["model"], size), size, size.train, batch)


@cache
def _work(method: str) -> float:
    made: Method = instantiate(json.loads(method), _convert_="all")
    return made.work


def _forwards(network: Counts, size: Size, samples: int, batch: int) -> float:
    """Estimated seconds for a forward pass of so many images, or words in so many columns."""
    arithmetic = min(samples, batch) * 2 * network.multiply_adds / ASSUMED
    layer = LAUNCH if size.shape else RECURRENT
    return ceil(samples / batch) * max(arithmetic, network.layers * layer)


def _ranks(network: Counts, batch: int) -> int:
    """The fewest ranks, halving the batch, that have the memory for a step."""

    def needed(images: int) -> int:
        return images * network.activations * ACTIVATION + network.parameters * WEIGHT

    ranks = 1
    while batch % (2 * ranks) == 0 and needed(batch // ranks) > MEMORY:
        ranks *= 2
    return ranks


def _network(name: str) -> str:
    """DATASET/MODEL."""
    return "/".join(name.split("/")[:2])


def _medians(samples: dict[str, list[float]]) -> dict[str, float]:
    return {key: median(values) for key, values in samples.items()}
