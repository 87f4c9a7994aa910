"""AWD-LSTM (Merity, Keskar, Socher, ICLR 2018, arXiv 1708.02182): LSTMs with dropped weights.

Inside the network the time axis comes first, as LSTM kernels want it; outside, the text's does.
Every mask is drawn from torch's global generator, as torch's own layers draw theirs.
"""

import logging
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vicinal.contracts import Embedded, LanguageModel, Read, Words
from vicinal.models.arguments import at_least_one

log = logging.getLogger(__name__)

Steps = Float[Tensor, "t n _"]  # a vector per word, time first
State = Float[Tensor, "n d"]
Dropped = Float[Tensor, "n t d"]  # outputs of the last layer, some of them 0; text first
Scores = Float[Tensor, "n t k"]


class LockedDropout(nn.Module):
    """§4.1: drops the same features of a text in every word of a stretch."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Steps, versions: int) -> Steps:
        """All versions of the texts lose the same features."""
        if not (self.training and self.p):
            return x
        texts = x.shape[1] // versions
        return x * kept(x[0, :texts], self.p).repeat(versions, 1)


def kept(x: Tensor, p: float) -> Tensor:
    """A factor per entry: 0 for those that are dropped, 1 / (1 - p) for the others."""
    return torch.empty_like(x).bernoulli_(1 - p).div_(1 - p)


class WeightDropLstm(nn.Module):
    """§2: an LSTM layer whose hidden-to-hidden matrix loses entries, once per forward.

    The kernel gets the matrix as an argument. To set it as an attribute of `nn.LSTM` would not do:
    that passes its own list of parameters on, and so would go on with the whole matrix.
    """

    def __init__(self, in_features: int, out_features: int, p: float) -> None:
        super().__init__()
        self.lstm, self.p = nn.LSTM(in_features, out_features), p
        # On a GPU the four weights of nn.LSTM are one piece of memory. The dropped matrix is not
        # in it, so cuDNN copies all four once per forward, little next to its work, and warns.
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous")

    def forward(self, x: Steps, h: State, c: State) -> tuple[Steps, State, State]:
        of_words, of_hidden, *biases = self.lstm.all_weights[0]
        if self.training and self.p:
            of_hidden = of_hidden * kept(of_hidden, self.p)
        weights, start = [of_words, of_hidden, *biases], (h.to(x.dtype)[None], c.to(x.dtype)[None])
        # The kernel has to know whether a backward may follow, be it in eval mode.
        learns = torch.is_grad_enabled()
        outputs, h, c = torch.lstm(x, start, weights, True, 1, 0.0, learns, False, False)
        return outputs, h[0], c[0]


class LstmStack(LanguageModel):
    """An embedding, LSTM layers of which features are dropped, and a softmax layer.

    Softmax layer and embedding share the weight (§4.5). What comes between the last LSTM and the
    softmax is left to networks of this kind.
    """

    def __init__(
        self,
        embedding: int,
        widths: Sequence[int],
        num_classes: int,
        *,
        weight_dropout: float,
        dropouts: Mapping[str, float],
    ) -> None:
        super().__init__()
        for name, p in {**dropouts, "weight": weight_dropout}.items():
            if not 0 <= p < 1:
                raise ValueError(
                    f"{name}_dropout must be at least 0 and below 1, got {p} (the share dropped)"
                )
        self.widths = [*widths]
        ends = pairwise([embedding, *self.widths])
        lstms = (WeightDropLstm(*each, weight_dropout) for each in ends)
        self.input_dropout = LockedDropout(dropouts["input"])
        self.layers = nn.ModuleList(lstms)
        between = [dropouts["hidden"]] * (len(self.widths) - 1)
        self.dropouts = nn.ModuleList(map(LockedDropout, [*between, dropouts["output"]]))
        self.softmax = nn.Linear(embedding, num_classes)
        self.stages = tuple(f"layers.{i}" for i in range(len(self.widths)))
        nn.init.uniform_(self.softmax.weight, -0.1, 0.1)
        nn.init.zeros_(self.softmax.bias)

    @property
    def classifier(self) -> nn.Linear:
        return self.softmax

    @abstractmethod
    def scores(self, features: Dropped, versions: int) -> Scores:
        """The logits of each next word; all versions of the texts lose the same features."""

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Stay uncompiled: the LSTM kernels take the time, and a compiler would not touch them."""
        log.warning("not compiled: an LSTM, whose kernels a compiler leaves as they are")

    def embed(self, words: Words) -> Embedded:
        return F.embedding(words, self.softmax.weight)

    def forward(
        self, x: Words | Embedded, state: tuple[Tensor, ...] = (), versions: int = 1
    ) -> Read:
        """The state is (h, c) of the first layer, then of the others."""
        embedded = x if x.is_floating_point() else self.embed(x)
        steps = self.input_dropout(embedded.transpose(0, 1).contiguous(), versions)
        start = tuple(each.repeat(versions, 1) for each in state) if versions > 1 else state
        outputs, carried = steps, ()
        for number, (layer, then) in enumerate(zip(self.layers, self.dropouts, strict=True)):
            zeros = steps.new_zeros(len(embedded), self.widths[number])
            outputs, *ends = layer(steps, *(start[2 * number :][:2] or (zeros, zeros)))
            steps, carried = then(outputs, versions), (*carried, *ends)
        features = steps.transpose(0, 1).contiguous()  # else the softmax adds its bias separately
        return Read(self.scores(features, versions), features, outputs.transpose(0, 1), carried)


class AwdLstm(LstmStack):
    """One softmax; the last layer is as wide as the embedding. `shape` is ignored: a text has none.

    Its logits are in float32 at least, even under autocast.
    """

    def __init__(  # noqa: PLR0913 (as many numbers as the paper gives it)
        self,
        embedding: int = 400,
        hidden: int = 1150,
        layers: int = 3,
        input_dropout: float = 0.4,
        hidden_dropout: float = 0.25,
        output_dropout: float = 0.4,
        weight_dropout: float = 0.5,
        *,
        num_classes: int,
        shape: tuple[int, ...],
    ) -> None:
        at_least_one(embedding=embedding, hidden=hidden, layers=layers)
        dropouts = {"input": input_dropout, "hidden": hidden_dropout, "output": output_dropout}
        widths = [*[hidden] * (layers - 1), embedding]
        super().__init__(
            embedding, widths, num_classes, weight_dropout=weight_dropout, dropouts=dropouts
        )

    def scores(self, features: Dropped, versions: int) -> Scores:
        logits = self.softmax(features)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))
