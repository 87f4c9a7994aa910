"""The contract of evaluations, which measure a trained network."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import nn

from vicinal.contracts import Inputs
from vicinal.data.split import Part

Begin = Callable[[Inputs], Inputs]


def as_it_is(x: Inputs) -> Inputs:
    """Leave a batch as it is."""
    return x


@runtime_checkable
class Evaluation(Protocol):
    """Returns numbers by name; leaves the network as it was. Training needs `top1`."""

    def __call__(self, model: nn.Module, split: Part, begin: Begin = as_it_is) -> dict[str, float]:
        """Measure `model` on `split`; each batch goes through `begin` before the network."""
        ...
