"""The contract of evaluations, which measure a trained network."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import nn

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
    The annotation of `data` says which data it measures: `Data`, or `TextData`.
    """

    def __call__(self, model: nn.Module, data: Any, rng: Rng, parts: Parts = each) -> Numbers: ...


@runtime_checkable
class Measure(Protocol):
    """What a run measures of each split while it trains; it leaves the network as it was.

    All ranks must call it, and get the same numbers. One of them is `top1` or `average_precision`,
    or else `nll`: by these the best epochs are chosen.
    """

    def __call__(self, model: nn.Module, split: Any) -> Numbers: ...


@runtime_checkable
class Counted(Protocol):
    """An evaluation that says beforehand how many forward passes of one image it takes."""

    def passes(self, images: int) -> int | None:
        """On so many test images; a backward pass counts as two. None if that is not known."""
        ...


@runtime_checkable
class Transferable(Evaluation, Protocol):
    """An evaluation whose adversarial examples may be made on the network of another run."""

    @property
    def source(self) -> str | None:
        """That run: NAME/seed0 as under a run's `out`, or a folder."""
        ...

    def transferred(self, source: nn.Module) -> Evaluation:
        """The evaluation with adversarial examples that are made on this network."""
        ...


@runtime_checkable
class Tabulated(Protocol):
    """An evaluation whose parts are rows of a table, which stays when it is finished."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The name of a part, and of each of its numbers; those under `time` are seconds."""
        ...
