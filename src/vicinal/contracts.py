"""The contracts, and the words they are written in."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, ClassVar, Literal, Protocol, get_type_hints, runtime_checkable

from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from vicinal.draws import Rng

Inputs = Float[Tensor, "n ..."]  # images in [0, 1], or feature vectors: whatever the network takes
Images = Float[Tensor, "n c h w"]  # where a vicinity needs pixels
Targets = Float[Tensor, "n k"]  # rows of probabilities
Logits = Float[Tensor, "n k"]
Rows = Int64[Tensor, " n"]  # places in the training split
PerSample = Float[Tensor, "n"]
Loss = Float[Tensor, ""]


@runtime_checkable
class Samples(Protocol):
    """A split of the data, which need not lie in memory: its labels."""

    @property
    def y(self) -> Int64[Tensor, " n"]: ...

    def __len__(self) -> int: ...


@runtime_checkable
class InMemory(Samples, Protocol):
    """A split that does: images as uint8, feature vectors as they are."""

    @property
    def x(self) -> Shaped[Tensor, "n ..."]: ...


@runtime_checkable
class TrainingData(Protocol):
    """What a method may see of a run's data: what it trains on, and how batches are augmented."""

    @property
    def train(self) -> Samples: ...

    @property
    def augment(self) -> "Vicinity": ...


@runtime_checkable
class Vicinity(Protocol):
    """Draws (x', y') from the distribution around each (x, y); pure: returns new tensors."""

    def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]: ...


class Method(ABC):
    """What is minimised: yields its loss in terms, which the loop backpropagates as they arrive.

    Every rank yields the same number of terms in a step.

    Two corners of the papers need more than (x, y). A method that sets `wants` is called with
    those as keywords: `rows`, the samples' places in the training split, or `unlabelled`, the same
    number of further images. `attach` shows it the data once, before training.
    """

    wants: ClassVar[tuple[Literal["rows", "unlabelled"], ...]] = ()

    @property
    def work(self) -> float:
        """At most how much arithmetic a step takes, where ERM's forward and backward are 1."""
        return 1.0

    def attach(self, data: TrainingData) -> "Method":
        """The method as it will train on these data; by default the same."""
        return self

    def prepare(self, model: nn.Module) -> nn.Module:
        """Change the network once, before the optimizer exists; by default leave it as it is."""
        return model

    @abstractmethod
    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]: ...


@runtime_checkable
class Resumable(Protocol):
    """A training that a run folder can save and continue."""

    @property
    def epoch(self) -> int:
        """How many epochs are over."""
        ...

    @property
    def steps_done(self) -> int:
        """How many steps are, in all epochs."""
        ...

    def check_weights(self) -> None:
        """Stop a training whose weights are not finite."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that continues it. All ranks ask for it."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        ...


def image_parts(part: object, key: str) -> Iterator[tuple[str, str]]:
    """What takes images alone in a method or a vicinity: its dotted key and its class.

    The call's annotation says so: `x: Images`, where `Inputs` would be vectors as well.
    """
    if not (is_dataclass(part) and callable(part)):
        return
    if _takes(type(part)) is Images:
        yield key, type(part).__name__
    for field in fields(part):
        yield from image_parts(getattr(part, field.name), f"{key}.{field.name}")


@cache
def _takes(kind: type) -> Any:
    return get_type_hints(kind.__call__).get("x")
