"""Dynamic evaluation: the network learns from each segment of a text once it has predicted it.

θ <- θ + λ r (θ0 - θ) - η g / (s + ε), where g is the gradient of the segment's mean loss, s the
root of its mean square over the training text, per weight, and r = s / (mean of s), at most 1 / λ.
The mean of s is that over tensors of each tensor's mean.

Paper:    Krause, Kahembwe, Murray, Renals, Dynamic Evaluation of Neural Sequence Models, ICML 2018,
          arXiv 1709.07432; §5: RMS with a decay to the trained weights
Code:     benkrause/dynamic-evaluation (commit 09fa27c) dynamiceval.py. Of an earlier version, which
          ChengyueGongR/advsoft has, s is a sum over segments and the mean a sum over tensors; its
          settings are rescaled ones: λ / tensors, η and ε / √segments (option oldhyper)
Differs:  a single word that is left at the end of a text is measured as well; r is cut off for each
          λ by itself, while in their grid the smallest bound so far stays
Cost:     a forward and a backward per segment of the training text, and of the validation text per
          pair of settings; BatchNorm is not updated
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vicinal.contracts import Read, Words
from vicinal.data.text import Text, TextData
from vicinal.draws import Rng
from vicinal.evaluation.batches import device_of
from vicinal.evaluation.evaluation import Numbers, Parts, each
from vicinal.evaluation.perplexity import columns, losses
from vicinal.machine import ranks
from vicinal.surgery.modes import evaluating

Tensors = list[Tensor]


class Setting(NamedTuple):
    """η and λ."""

    lr: float
    decay: float


@dataclass(frozen=True)
class Dynamic:
    """Perplexity of the test text with the pair of settings that is best on the validation text.

    Texts are read in one column. The network is measured in float32, or in the type of its weights,
    and is left as it was; dropout is off. All ranks do the same work, and
    the numbers are those of rank zero.
    """

    lr: Sequence[float] = (3e-5, 4e-5, 5e-5, 6e-5, 7e-5, 1e-4)
    decay: Sequence[float] = (0.001, 0.002, 0.003, 0.005)
    epsilon: float = 2e-5
    segment: int = 5
    train_columns: int = 100  # that its words are read in; the measured texts have one
    words: int | None = None  # of the measured texts, the first so many
    train_words: int | None = None

    def __post_init__(self) -> None:
        for name in ("lr", "decay"):
            values = getattr(self, name)
            if not values or min(values) < 0:
                raise ValueError(f"{name} must be given and at least 0, got {list(values)}")
        if self.epsilon <= 0:
            raise ValueError(f"epsilon must be above 0, got {self.epsilon}")
        least = {
            "segment": 1,
            "train_columns": 1,
            "words": 2,
            "train_words": 2 * self.train_columns,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(f"{name} must be at least {bound}, got {value}")

    def __call__(self, model: nn.Module, data: TextData, rng: Rng, parts: Parts = each) -> Numbers:
        settings = {f"lr{lr:g}_decay{decay:g}": Setting(lr, decay) for lr, decay in self._grid}

        @cache
        def spread() -> Tensors:  # once, and only if a part is not known yet
            return self._spread(model, data.train)

        def measure(text: Text, setting: Setting) -> Numbers:
            own = self._nll(model, text, setting, spread())
            nll = ranks.broadcast_object(lambda: own)
            return {"nll": nll.item(), "perplexity": nll.exp().item()}

        with evaluating(model), torch.autocast(device_of(model, data.test.ids).type, enabled=False):
            found = parts(list(settings), lambda name: measure(data.valid, settings[name]))
            best = min(found, key=lambda name: found[name]["nll"])
            test = parts(["test"], lambda _: measure(data.test, settings[best]))["test"]
        return {
            **{f"valid_{key}": value for key, value in found[best].items()},
            **{f"test_{key}": value for key, value in test.items()},
            **settings[best]._asdict(),
            **{f"perplexity_{name}": of["perplexity"] for name, of in found.items()},
        }

    @property
    def _grid(self) -> Iterator[tuple[float, float]]:
        return product(self.lr, self.decay)

    def _spread(self, model: nn.Module, text: Text) -> Tensors:
        """The root of each weight's mean squared gradient over the segments of a text."""
        table = columns(Text(text.ids[: self.train_words]), self.train_columns)
        weights, segments = list(model.parameters()), 0
        squares = [torch.zeros_like(weight) for weight in weights]
        with differentiated(model):
            for _, gradients in self._passes(model, table):
                torch._foreach_addcmul_(squares, gradients, gradients)  # pyright: ignore[reportPrivateImportUsage]
                segments += 1
        return [(square / segments).sqrt() for square in squares]

    def _nll(self, model: nn.Module, text: Text, setting: Setting, spread: Tensors) -> Tensor:
        """The mean over the words of a text, of a network that learns from them; in float64."""
        table = columns(Text(text.ids[: self.words]), 1)
        mean = torch.stack([values.mean() for values in spread]).mean()
        pulls = [(setting.decay * values / mean).clamp(max=1) for values in spread]
        steps = [setting.lr / (values + self.epsilon) for values in spread]
        total = torch.zeros((), dtype=torch.float64, device=device_of(model, table))
        with differentiated(model), kept(model) as (weights, trained):
            for loss, gradients in self._passes(model, table):
                total += loss
                with torch.no_grad():
                    torch._foreach_lerp_(weights, trained, pulls)  # pyright: ignore[reportPrivateImportUsage]
                    torch._foreach_addcmul_(weights, gradients, steps, value=-1)  # pyright: ignore[reportPrivateImportUsage]
        return total.cpu() / (table.numel() - 1)

    def _passes(
        self, model: nn.Module, table: Words
    ) -> Iterator[tuple[Float[Tensor, ""], tuple[Tensor, ...]]]:
        """Each segment's summed loss, in float64, and the gradients of its mean loss."""
        weights, state = list(model.parameters()), ()
        table = table.to(device_of(model, table))
        for start in range(0, table.shape[1] - 1, self.segment):
            stretch = table[:, start : start + self.segment + 1]
            with torch.enable_grad():
                read: Read = model(stretch[:, :-1], state)
                per_word = losses(read, stretch[:, 1:])
                gradients = torch.autograd.grad(
                    per_word.mean(), weights, allow_unused=True, materialize_grads=True
                )
            state = tuple(values.detach() for values in read.state)
            yield per_word.detach().double().sum(), gradients


@contextmanager
def differentiated(model: nn.Module) -> Iterator[None]:
    """Differentiate every parameter; afterwards only those that were."""
    constant = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    for parameter in constant:
        parameter.requires_grad = True
    try:
        yield
    finally:
        for parameter in constant:
            parameter.requires_grad = False


@contextmanager
def kept(model: nn.Module) -> Iterator[tuple[Tensors, Tensors]]:
    """The weights, and copies of them, which they are set back to afterwards."""
    weights: Tensors = list(model.parameters())
    copies = [weight.detach().clone() for weight in weights]
    try:
        yield weights, copies
    finally:
        with torch.no_grad():
            torch._foreach_copy_(weights, copies)  # pyright: ignore[reportPrivateImportUsage]
