"""How long a run takes on one GPU: measured in records, or else estimated from its arithmetic.

An estimate counts steps and evaluations. Either takes as long as its arithmetic or as launching its
layers, whichever is longer: a small network waits for its launches. A step is ERM's times the
`work` that its method states. Records of other runs of the network on the data set scale it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import ceil, prod
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vicinal.contracts import Method

ASSUMED = 1e14  # floating-point operations a second: a tenth of what one H200 could do in bf16
LAUNCH = 2e-5  # seconds in which a layer is launched, forwards or half a backward
MEMORY = 8e10  # bytes of a device
ACTIVATION = 2  # bytes, in bf16
WEIGHT = 16  # bytes, with its gradient, its momentum and a copy in bf16
EVALUATED = 1000  # images a batch


class Size(NamedTuple):
    """Of a data set: known before any of it is at hand."""

    train: int
    test: int
    shape: tuple[int, int, int]
    classes: int


SIZES = {
    "cifar10": Size(50_000, 10_000, (3, 32, 32), 10),
    "cifar100": Size(50_000, 10_000, (3, 32, 32), 100),
    "svhn": Size(64_488, 26_032, (3, 32, 32), 10),  # PatchUp caps the larger of its classes
    "stl10": Size(5_000, 8_000, (3, 96, 96), 10),
    "tiny_imagenet": Size(100_000, 10_000, (3, 64, 64), 200),
    "imagenet": Size(1_281_167, 50_000, (3, 224, 224), 1000),
    "digits": Size(1_437, 360, (3, 16, 16), 10),
}
FOLD = 1_000  # training images in one of STL-10's


@dataclass(frozen=True)
class Cost:
    """GPU-hours of one run, how they are known, and how many ranks its batch needs."""

    hours: float
    measured: bool
    ranks: int = 1

    def __str__(self) -> str:
        known = f"{self.hours:.2f} h {'measured' if self.measured else 'estimated'} each"
        some = f", on at least {self.ranks} ranks of {MEMORY / 1e9:.0f} GB"
        return known + (some if self.ranks > 1 else "")


@dataclass(frozen=True)
class Costs:
    """What earlier runs and benches say."""

    epochs: dict[str, float]  # seconds an epoch of a run, by its name, on a GPU
    scales: dict[str, float]  # measured over estimated, by DATASET/MODEL
    steps: dict[tuple[str, int], float]  # seconds of ERM's, by model and batch, of 32 x 32 images

    @classmethod
    def known(cls, finished: Iterable[dict[str, Any]], benches: Path) -> "Costs":
        """From records, and from the benches' JSON for what no record tells."""
        seen: dict[str, list[float]] = {}
        scales: dict[str, list[float]] = {}
        for record in finished:
            if record["sessions"][-1]["device"]["type"] == "cuda":
                seconds = record["timing"]["seconds_per_epoch"]
                seen.setdefault(record["name"], []).append(seconds)
                if (expected := _epoch(record["name"], record["config"], {})) is not None:
                    scales.setdefault(_kind(record["name"]), []).append(seconds / expected)
        steps: dict[tuple[str, int], float] = {}
        for bench in (json.loads(path.read_text()) for path in sorted(benches.glob("*.json"))):
            if bench.get("device", {}).get("type") == "cuda" and "erm" in bench.get("steps", {}):
                milliseconds = bench["steps"]["erm"]["milliseconds"]
                steps[bench["model"], bench["batch"]] = milliseconds / 1000
        by_name = {name: median(seconds) for name, seconds in seen.items()}
        return cls(by_name, {kind: median(each) for kind, each in scales.items()}, steps)

    def of(self, name: str, config: dict[str, Any]) -> Cost | None:
        """One run's; None where neither a record nor the size of its data is known."""
        measured = name in self.epochs
        epoch = self.epochs[name] if measured else _epoch(name, config, self.steps)
        if epoch is None:
            return None
        scale = self.scales.get(_kind(name), 1.0)
        schedule = config["schedule"]
        seconds = schedule["epochs"] * epoch * (1.0 if measured else scale)
        if (size := _size(name, config)) is None:
            return Cost(seconds / 3600, measured)
        network = _network(json.dumps(config["model"]), size.shape, size.classes)
        evaluations = ceil(schedule["epochs"] / schedule["measure_epochs"])
        seconds += evaluations * scale * network.forwards(size.test, EVALUATED)
        return Cost(seconds / 3600, measured, network.ranks(schedule["batch_size"]))


class Network(NamedTuple):
    """What a network asks of a device."""

    operations: int  # of one image's forward
    layers: int
    activations: int  # of one image, in all layers
    weights: int

    def forwards(self, images: int, batch: int) -> float:
        """Seconds in which so many images go forwards."""
        arithmetic = min(images, batch) * self.operations / ASSUMED
        return ceil(images / batch) * max(arithmetic, self.layers * LAUNCH)

    def ranks(self, batch: int) -> int:
        """The fewest, halving the batch, whose devices have the memory for a step."""
        ranks = 1
        while batch % (2 * ranks) == 0 and self._bytes(batch // ranks) > MEMORY:
            ranks *= 2
        return ranks

    def _bytes(self, batch: int) -> int:
        return batch * self.activations * ACTIVATION + self.weights * WEIGHT


def _epoch(name: str, config: dict[str, Any], steps: dict[tuple[str, int], float]) -> float | None:
    """Seconds in which a run's training images are gone through once."""
    if (size := _size(name, config)) is None:
        return None
    batch, model = config["schedule"]["batch_size"], name.split("/")[1]
    method: Method = instantiate(config["method"], _convert_="all")
    if size.shape == (3, 32, 32) and (model, batch) in steps:
        return method.work * ceil(size.train / batch) * steps[model, batch]
    network = _network(json.dumps(config["model"]), size.shape, size.classes)
    return method.work * 3 * network.forwards(size.train, batch)  # a backward is two forwards


def _size(name: str, config: dict[str, Any]) -> Size | None:
    """What is left of a data set to train and to be measured on."""
    whole, dataset = SIZES.get(name.split("/", maxsplit=1)[0]), config["dataset"]
    if whole is None:
        return None
    fold = (dataset.get("source") or {}).get("fold") is not None
    held_out = whole.classes * dataset.get("holdout_per_class", 0)
    train = (FOLD if fold else whole.train) - held_out
    if (cap := dataset.get("train_per_class")) is not None:
        train = min(train, whole.classes * cap)
    channels, height, width = whole.shape
    side = dataset.get("size")
    shape = (channels, side or height, side or width)
    return Size(train, whole.test + held_out, shape, whole.classes)


def _kind(name: str) -> str:
    """DATASET/MODEL."""
    return "/".join(name.split("/")[:2])


@cache
def _network(model: str, shape: tuple[int, ...], classes: int) -> Network:
    layers = activations = 0

    def count(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal layers, activations
        layers += 1
        activations += prod(output.shape[1:])

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = instantiate(json.loads(model), _convert_="all")(num_classes=classes, shape=shape)
        for module in network.modules():
            if not any(module.children()):
                module.register_forward_hook(count)
        network(torch.empty(2, *shape))
    weights = sum(parameter.numel() for parameter in network.parameters())
    return Network(counter.get_total_flops() // 2, layers, activations, weights)
