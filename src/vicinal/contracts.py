"""The contracts, and the types that they use."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import (
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Protocol,
    get_type_hints,
    runtime_checkable,
)

from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor, nn

from vicinal.draws import Rng

Inputs = Float[Tensor, "n ..."]  # images in [0, 1], or other features, as the network takes
Images = Float[Tensor, "n c h w"]  # for what needs pixels in [0, 1]
Maps = Float[Tensor, "n c height width"]  # images or spectrograms, for what needs no pixels
Words = Int64[Tensor, "n t"]  # a stretch of each of n texts: numbers of words in the vocabulary
Embedded = Float[Tensor, "n t e"]  # a vector per word
Photos = Float[Tensor, "n 3 height width"]  # of different sizes, padded to one; with `Objects`
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


@dataclass
class Memory:
    """What a recurrent network carries from one stretch of its texts to the next: n x d each.

    It is empty at the start of a text. The loop keeps it between steps; a method reads it, and
    replaces it once per call.
    """

    state: tuple[Float[Tensor, "n _"], ...] = ()


class Read(NamedTuple):
    """What a language model makes of a stretch of text."""

    logits: Float[Tensor, "n t k"]  # of each next word
    features: Float[Tensor, "n t d"]  # of the last recurrent layer; with one softmax, what it gets
    outputs: Float[Tensor, "n t d"]  # of the last recurrent layer, before dropout
    state: tuple[Float[Tensor, "n _"], ...]  # for the next stretch


class LanguageModel(nn.Module, ABC):
    """A network that reads text, a stretch at a time, and predicts each next word."""

    @property
    @abstractmethod
    def classifier(self) -> nn.Linear:
        """The softmax layer; its weight has a row per word."""

    @property
    def num_softmaxes(self) -> int:
        """How many are mixed; the logits of a single one are what the classifier makes."""
        return 1

    @abstractmethod
    def embed(self, words: Words) -> Embedded:
        """The vector of each word."""

    @abstractmethod
    def forward(
        self, x: Words | Embedded, state: tuple[Tensor, ...] = (), versions: int = 1
    ) -> Read:
        """Read words, or vectors in their place, on from a state; () is the start of a text.

        Several versions of the texts may be read at once, all texts of the first before those of
        the second. They go on from one state, and dropout is the same in all of them.
        """


@dataclass(frozen=True)
class Objects:
    """What n photos show: m objects, image by image.

    Boxes are left, top, right, bottom in pixels. Masks are as large as the padded photos; `sizes`
    are the heights and widths of the photos themselves.
    """

    boxes: Float[Tensor, "m 4"]
    labels: Int64[Tensor, " m"]
    masks: UInt8[Tensor, "m height width"]
    counts: tuple[int, ...]  # of each photo's objects
    sizes: tuple[tuple[int, int], ...]

    def __getitem__(self, photos: slice) -> "Objects":
        """What some of the photos show."""
        first, end, _ = photos.indices(len(self.counts))
        shown = slice(sum(self.counts[:first]), sum(self.counts[:end]))
        of_objects = self.boxes[shown], self.labels[shown], self.masks[shown]
        return Objects(*of_objects, self.counts[photos], self.sizes[photos])


@dataclass(frozen=True)
class Found:
    """What a detector finds in one photo."""

    boxes: Float[Tensor, "m 4"]
    labels: Int64[Tensor, " m"]
    scores: Float[Tensor, " m"]
    masks: Float[Tensor, "m 1 height width"]  # probabilities in the box


Levels = dict[str, Float[Tensor, "n c _ _"]]  # features at several scales, the finest first


class Detector(nn.Module, ABC):
    """A network that finds objects in photos: a trunk, levels of its features, and heads on them.

    Called on (x, y) it returns losses by name in train mode, else a `Found` of each photo.
    """

    @property
    @abstractmethod
    def trunk(self) -> nn.Module:
        """A network that was a classifier, without its last layer."""

    @abstractmethod
    def normalized(self, mean: Sequence[float], std: Sequence[float]) -> "Detector":
        """The same, with a trunk that sees (x - mean) / std."""

    @abstractmethod
    def levels(self, x: Photos, sizes: tuple[tuple[int, int], ...]) -> Levels:
        """The features of the trunk, at the widths of the heads."""

    @abstractmethod
    def losses(self, levels: Levels, x: Photos, y: Objects) -> dict[str, Loss]:
        """The losses of the heads, in train mode."""

    @abstractmethod
    def dense(self, x: Photos) -> None:
        """The arithmetic of a training pass that does not depend on what is found."""


Wants = tuple[Literal["rows", "unlabelled", "memory", "progress"], ...]


class Method(ABC):
    """What a run minimises: yields its loss in terms, which the loop backpropagates as they arrive.

    Every rank yields the same number of terms in a step.

    Some methods need more than (x, y). A method that sets `wants` gets these as keywords: `rows`,
    the samples' positions in the training split; `unlabelled`, the same number of further images;
    `memory`, what the network carries from the step before; `progress`, the share of the training
    that is done, which begins at 0. `attach` shows it the data once, before
    training.

    On text, x and y are `Words`: y are the words that follow those of x. Where objects are to be
    found, x are `Photos` and y `Objects`.
    """

    wants: ClassVar[Wants] = ()

    @property
    def work(self) -> float:
        """At most how much arithmetic a step takes, where ERM's forward and backward are 1."""
        return 1.0

    def attach(self, data: Any) -> "Method":
        """The method that will train on these data; by default itself."""
        return self

    def prepare(self, model: nn.Module) -> nn.Module:
        """Change the network once, before the optimizer exists; by default leave it as it is."""
        return model

    @abstractmethod
    def __call__(self, model: nn.Module, x: Any, y: Any, rng: Rng) -> Iterator[Loss]: ...


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


def parts(part: object, key: str) -> Iterator[tuple[str, str, Any]]:
    """The parts of a method or vicinity: dotted key, class, and what its call takes as `x`.

    The annotation says that: `Images` are pixels, `Inputs` any features, `Words` text,
    `Photos` images with objects.
    """
    if not (is_dataclass(part) and callable(part)):
        return
    yield key, type(part).__name__, takes(type(part))
    for field in fields(part):
        yield from parts(getattr(part, field.name), f"{key}.{field.name}")


@cache
def takes(kind: type) -> Any:
    """What a kind of method or vicinity takes as `x`."""
    return get_type_hints(kind.__call__).get("x")
