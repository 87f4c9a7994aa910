"""How long a run takes on one GPU: measured in records, or else estimated from its arithmetic."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import torch
from hydra.utils import instantiate
from torch.utils.flop_counter import FlopCounterMode

ASSUMED = 1e14  # floating-point operations a second: a tenth of what one H200 could do in bf16

# Training images, their shape and classes: known before any data is at hand.
SIZES = {
    "cifar10": (50_000, (3, 32, 32), 10),
    "cifar100": (50_000, (3, 32, 32), 100),
    "svhn": (57_158, (3, 32, 32), 10),
    "stl10": (5_000, (3, 96, 96), 10),
    "tiny_imagenet": (100_000, (3, 64, 64), 200),
    "imagenet": (1_281_167, (3, 224, 224), 1000),
    "digits": (1_437, (3, 16, 16), 10),
}


@dataclass(frozen=True)
class Cost:
    """GPU-hours of one run, and how they are known."""

    hours: float
    measured: bool

    def __str__(self) -> str:
        return f"{self.hours:.2f} h {'measured' if self.measured else 'estimated'}"


@dataclass(frozen=True)
class Costs:
    """What earlier runs and benches say."""

    epochs: dict[str, float]  # seconds an epoch of DATASET/MODEL/METHOD on a GPU
    ratios: dict[str, float]  # a method's step over ERM's

    @classmethod
    def known(cls, finished: Iterable[dict[str, Any]], benches: Path) -> "Costs":
        """From records, and from the benches' JSON for what no record tells."""
        seen: dict[str, list[float]] = {}
        for record in finished:
            if record["sessions"][-1]["device"]["type"] == "cuda":
                kind = record["name"].rpartition("/")[0]
                seen.setdefault(kind, []).append(record["timing"]["seconds_per_epoch"])
        steps = [json.loads(path.read_text()).get("steps", {}) for path in benches.glob("*.json")]
        ratios = {
            name.partition(" ")[0]: step["over_erm"]
            for each in steps
            for name, step in each.items()
        }
        return cls({kind: median(seconds) for kind, seconds in seen.items()}, ratios)

    def of(self, name: str, config: dict[str, Any]) -> Cost | None:
        """One run's; None where neither a record nor the size of its data is known."""
        kind, epochs = name.rpartition("/")[0], config["schedule"]["epochs"]
        if kind in self.epochs:
            return Cost(self.epochs[kind] * epochs / 3600, measured=True)
        dataset, _, method = kind.split("/")
        if dataset not in SIZES:
            return None
        images, shape, classes = SIZES[dataset]
        images = min(images, classes * (config["dataset"]["train_per_class"] or images))
        passes = 3 * self.ratios.get(method, 1.0)  # a backward costs two forwards
        work = images * epochs * passes * _operations(json.dumps(config["model"]), shape, classes)
        return Cost(work / ASSUMED / 3600, measured=False)


@cache
def _operations(model: str, shape: tuple[int, ...], classes: int) -> int:
    """Of one image's forward."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = instantiate(json.loads(model), _convert_="all")
        network(num_classes=classes, shape=shape)(torch.empty(2, *shape))
    return counter.get_total_flops() // 2
