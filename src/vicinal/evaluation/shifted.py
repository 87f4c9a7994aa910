"""The numbers of clean data on shifted test sets: deformed, collected again, of other styles."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from vicinal.contracts import Inputs, Logits
from vicinal.data.dataset import Data
from vicinal.data.shifted.sets import ShiftedSets
from vicinal.data.split import Part
from vicinal.draws import Rng
from vicinal.evaluation.batches import hits_of_all
from vicinal.evaluation.clean import Clean
from vicinal.evaluation.evaluation import Numbers, Parts, each, flat


@runtime_checkable
class OfSomeClasses(Protocol):
    """Shifted sets that hold some of the run's classes only, as ImageNet-R and ImageNet-A do."""

    def classes(self, name: str, test: Part) -> tuple[int, ...] | None:
        """Those among which a set's images are told apart, None for all; labels are of `test`."""
        ...


@dataclass(frozen=True)
class Shifted:
    """What Clean measures, for each set under its name, and the means over the sets.

    With `mean_of_batches` also the mean of the accuracies of batches of that size, which is what
    some codes print: a smaller last batch counts as much as the others.
    """

    sets: ShiftedSets
    batch_size: int = 1000
    mean_of_batches: int | None = None

    def __post_init__(self) -> None:
        _ = self.clean  # checks the batch size
        if self.mean_of_batches is not None and self.mean_of_batches < 1:
            raise ValueError(f"mean_of_batches must be at least 1, got {self.mean_of_batches}")

    @property
    def clean(self) -> Clean:
        """What is measured of each set."""
        return Clean(self.batch_size)

    def passes(self, images: int) -> int | None:
        """Of each set, which is taken to be as large as the test set."""
        return images * len(self.sets.names)

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers:
        def measure(name: str) -> Numbers:
            network = model
            if isinstance(self.sets, OfSomeClasses):
                classes = self.sets.classes(name, data.test)
                network = model if classes is None else Among(model, classes)
            part = self.sets.load(name, data.test, rng.fork(name))
            numbers = self.clean(network, part)
            if self.mean_of_batches is not None:
                numbers["batch_mean_top1"] = self._mean_of_batches(network, part)
            return numbers

        found = parts(self.sets.names, measure)
        return flat(found) | {
            f"mean_{key}": fmean(numbers[key] for numbers in found.values())
            for key in ("top1", "nll")
        }

    def _mean_of_batches(self, model: nn.Module, part: Part) -> float:
        assert self.mean_of_batches is not None
        hits = hits_of_all(model, part, self.batch_size, lambda x, y, _: model(x).argmax(1) == y)
        return 100 * fmean(batch.mean().item() for batch in hits.cpu().split(self.mean_of_batches))


class Among(nn.Module):
    """`network` where only some classes can be predicted."""

    def __init__(self, network: nn.Module, classes: Sequence[int]) -> None:
        super().__init__()
        self.network, self.chosen = network, list(classes)

    def forward(self, x: Inputs) -> Logits:
        """Logits, those of other classes -∞."""
        logits = self.network(x)
        among = torch.full_like(logits, -inf)
        among[:, self.chosen] = logits[:, self.chosen]
        return among
