"""The contract of evaluations, which measure a trained network."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from torch import nn

from vicinal.data.split import Data
from vicinal.draws import Rng

Numbers = dict[str, float]
# (names, measure) -> the numbers of each part; parts that an earlier attempt measured are kept
Parts = Callable[[Sequence[str], Callable[[str], Numbers]], dict[str, Numbers]]


def each(names: Sequence[str], measure: Callable[[str], Numbers]) -> dict[str, Numbers]:
    """Measure every part."""
    return {name: measure(name) for name in names}


def flat(found: dict[str, Numbers]) -> Numbers:
    """The numbers of all parts under NAME_KEY."""
    return {f"{name}_{key}": value for name, of in found.items() for key, value in of.items()}


@runtime_checkable
class Evaluation(Protocol):
    """Returns numbers by name, the same on every rank; leaves the network as it was.

    A long evaluation hands its parts to `parts`, which may know some of them already, so each part
    draws from `rng.fork(name)` alone. The caller chooses the precision: autocast around the call.
    """

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers: ...
