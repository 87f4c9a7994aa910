"""Perplexity, exp of the mean negative log-likelihood of each word given those before it.

Paper:    Merity, Keskar, Socher, Regularizing and Optimizing LSTM Language Models, ICLR 2018,
          arXiv 1708.02182; §5
Code:     salesforce/awd-lstm-lm (commit 001f9cc) main.py, evaluate
Differs:  the mean is over the words that are predicted; their code divides by one more per column
Cost:     one forward per segment; BatchNorm is not updated
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.contracts import Read, Words
from vicinal.data.text import Text, TextData
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation.batches import device_of
from vicinal.evaluation.evaluation import Numbers, Parts, each, flat
from vicinal.machine import ranks
from vicinal.models.arguments import at_least_one
from vicinal.surgery.modes import evaluating


@dataclass(frozen=True)
class Perplexity:
    """Reads a text in `columns` side by side, each from its start; the words left over are dropped.

    The state is carried from segment to segment, so that `bptt` changes no number. The network is
    left as it was. The caller chooses its precision (autocast around the call).
    """

    columns: int = 10
    bptt: int = 70

    def __post_init__(self) -> None:
        at_least_one(columns=self.columns, bptt=self.bptt)

    def __call__(self, model: nn.Module, split: Text) -> Numbers:
        """Measure; waits for the device once, at the end.

        Each rank reads its share of the columns; all ranks must call this, and get the same
        numbers.
        """
        table = columns(split, self.columns)
        own = table.tensor_split(ranks.world_size())[ranks.rank()].to(device_of(model, table))
        with evaluating(model), torch.no_grad():
            total = ranks.all_reduce_(self._total(model, own))
        nll = total / (table.numel() - len(table))
        mean, perplexity = torch.stack([nll, nll.exp()]).tolist()
        return {"nll": mean, "perplexity": perplexity}

    def _total(self, model: nn.Module, table: Words) -> Float64[Tensor, ""]:
        """The sum over all words but the first of each column; a rank may have no column."""
        total = torch.zeros((), dtype=torch.float64, device=table.device)
        state: tuple[Tensor, ...] = ()
        for start in range(0, table.shape[1] - 1, self.bptt) if len(table) else ():
            stretch = table[:, start : start + self.bptt + 1]
            read: Read = model(stretch[:, :-1], state)
            state = read.state
            total += losses(read, stretch[:, 1:]).double().sum()
        return total


@dataclass(frozen=True)
class OwnTexts:
    """`Perplexity` of a run's validation and test text, in as many columns as papers read them."""

    valid_columns: int = 10
    test_columns: int = 1
    bptt: int = 70

    def __post_init__(self) -> None:
        at_least_one(
            valid_columns=self.valid_columns, test_columns=self.test_columns, bptt=self.bptt
        )

    def __call__(self, model: nn.Module, data: TextData, rng: Rng, parts: Parts = each) -> Numbers:
        texts = {
            "valid": (data.valid, self.valid_columns),
            "test": (data.test, self.test_columns),
        }

        def measure(name: str) -> Numbers:
            text, count = texts[name]
            return Perplexity(count, self.bptt)(model, text)

        return flat(parts(list(texts), measure))


def columns(text: Text, count: int) -> Words:
    """The columns of a text that has a word to predict in each."""
    if len(text) < 2 * count:
        raise RunError(
            f"a text must have at least 2 words for each of {count} columns, got {len(text)}"
        )
    return text.columns(count)


def losses(read: Read, y: Words) -> Tensor:
    """-log p of each word, in at least float32."""
    logits = read.logits.flatten(0, 1)
    least = torch.promote_types(logits.dtype, torch.float32)
    return F.cross_entropy(logits.to(least), y.flatten(), reduction="none")
