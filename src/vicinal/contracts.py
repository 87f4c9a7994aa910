"""The two contracts, and the words they are written in."""

from collections.abc import Iterator
from typing import ClassVar, Literal, Protocol, runtime_checkable

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
    """What a method may see of a run's data: what it trains on."""

    @property
    def train(self) -> Samples: ...


@runtime_checkable
class Vicinity(Protocol):
    """Draws (x', y') from the distribution around each (x, y); pure: returns new tensors."""

    def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]: ...


@runtime_checkable
class Method(Protocol):
    """What is minimised: yields its loss in terms, which the loop backpropagates as they arrive.

    Two corners of the papers need more than (x, y). A method that sets `wants` is called with
    those as keywords: `rows`, the samples' places in the training split, or `unlabelled`, as many
    more images. `attach` shows it the data once, before training.
    """

    wants: ClassVar[tuple[Literal["rows", "unlabelled"], ...]] = ()

    @property
    def work(self) -> float:
        """A step's arithmetic over ERM's (a forward and two for the backward), at most."""
        return 1.0

    def attach(self, data: TrainingData) -> "Method":
        """The method as it will train on these data; by default the same."""
        return self

    def prepare(self, model: nn.Module) -> nn.Module:
        """Change the network once, before the optimizer exists; by default leave it as it is."""
        return model

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]: ...
