"""The contracts, and the types that they use."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, ClassVar, Literal, Protocol, get_type_hints, runtime_checkable

from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from vicinal.draws import Rng

Inputs = Float[Tensor, "n ..."]  # images in [0, 1], or feature vectors, as the network takes
Images = Float[Tensor, "n c h w"]  # for vicinities that need pixels
Targets = Float[Tensor, "n k"]  # rows of probabilities
Logits = Float[Tensor, "n k"]
Rows = Int64[Tensor, " n"]  # positions in the training split
PerSample = Float[Tensor, "n"]
Loss = Float[Tensor, ""]


@runtime_checkable
class Samples(Protocol):
    """A split of the data, not necessarily in memory: its labels."""

    @property
    def y(self) -> Int64[Tensor, " n"]: ...

    def __len__(self) -> int: ...


@runtime_checkable
class InMemory(Samples, Protocol):
    """A split in memory: images as uint8, feature vectors unchanged."""

    @property
    def x(self) -> Shaped[Tensor, "n ..."]: ...


@runtime_checkable
class TrainingData(Protocol):
    """The part of a run's data that a method may see: training samples and their augmentation."""

    @property
    def train(self) -> Samples: ...

    @property
    def augment(self) -> "Vicinity": ...


@runtime_checkable
class Vicinity(Protocol):
    """Draws (x', y') from the distribution around each (x, y); pure: returns new tensors."""

    def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]: ...


class Method(ABC):
    """What a run minimises: yields its loss in terms, which the loop backpropagates as they arrive.

    Every rank yields the same number of terms in a step.

    Two methods of the papers need more than (x, y). A method that sets `wants` gets these as
    keywords: `rows`, the samples' positions in the training split, or `unlabelled`, the same number
    of further images. `attach` shows it the data once, before training.
    """

    wants: ClassVar[tuple[Literal["rows", "unlabelled"], ...]] = ()

    @property
    def work(self) -> float:
        """At most how much arithmetic a step takes, where ERM's forward and backward are 1."""
        return 1.0

    def attach(self, data: TrainingData) -> "Method":
        """The method that will train on these data; by default itself."""
        return self

    def prepare(self, model: nn.Module) -> nn.Module:
        """Change the network once, before the optimizer exists; by default leave it as it is."""
        return model

    @abstractmethod
    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]: ...


@runtime_checkable
class Resumable(Protocol):
    """Training that a run folder can save and continue."""

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        ...

    @property
    def steps_done(self) -> int:
        """Finished steps, of all epochs."""
        ...

    def check_weights(self) -> None:
        """Stop the training if weights are not finite."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything needed to continue. All ranks must call it."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        ...


def image_parts(part: object, key: str) -> Iterator[tuple[str, str]]:
    """The parts of a method or vicinity that take only images: dotted key and class of each.

    The call's annotation says so: `x: Images`; `Inputs` would include vectors.
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
