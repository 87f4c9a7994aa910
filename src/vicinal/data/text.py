"""Text for language models: one stream of words per split, read in columns of one length.

Paper:    Merity, Keskar, Socher, Regularizing and Optimizing LSTM Language Models, ICLR 2018,
          arXiv 1708.02182; §5: variable length backpropagation sequences
Code:     salesforce/awd-lstm-lm (commit 32fcb42) main.py, utils.py; ChengyueGongR/advsoft, whose
          cap of bptt + 40 words is kept
Differs:  a row of a batch is a column of the text (batch first); the rate of an epoch's last
          segment follows its own length, as its text ends before the length that was drawn
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any, NoReturn

import torch
from jaxtyping import Int64
from torch import Generator, Tensor, nn

from vicinal.contracts import Images, LanguageModel, Maps, Method, Rows, Words, parts
from vicinal.data.batches import Extent
from vicinal.data.decode.pool import Decoder
from vicinal.draws import Rng, derived_seed
from vicinal.errors import RunError
from vicinal.machine import ranks

LEAST, MOST_MORE = 5, 40  # words of a segment: at least 5, at most 40 more than bptt
USUAL = 0.95  # the share of segments around bptt; the others are around half of it
DEVIATION = 5


@dataclass(frozen=True)
class Text:
    """A split: the number of each word in the vocabulary, in order."""

    ids: Int64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: str) -> "Text":
        """The same text on another device."""
        return Text(self.ids.to(device))

    def columns(self, count: int) -> Words:
        """Cut into `count` columns of equal length, a row each; leftover words are dropped.

        It is a view of the text.
        """
        length = len(self.ids) // count
        return self.ids[: count * length].view(count, length)


@dataclass(frozen=True)
class TextData:
    """One text as a run uses it; its classes are the words of the vocabulary."""

    train: Text
    valid: Text
    test: Text
    num_classes: int
    fingerprint: dict[str, str]
    canonical: bool | None = None  # True: the files are known to be the original
    bptt: int = 70  # words of a usual segment

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    @property
    def replaced(self) -> dict[str, str]:
        return {}

    def to(self, device: str, decoder: Decoder | None = None) -> "TextData":
        """The same data on another device; there is nothing to decode."""
        return replace(self, **{name: text.to(device) for name, text in self._splits().items()})

    def check_method(self, key: str, method: Method) -> None:
        for place, kind, takes in parts(method, key):
            if place == key and takes is not Words:
                raise RunError(f"{place} must take text with this dataset, got {kind}")
            if takes in (Images, Maps):
                raise RunError(
                    f"{place} must take word vectors with this dataset, got {kind}, which needs "
                    "images"
                )

    def check_network(self, body: nn.Module) -> None:
        if not isinstance(body, LanguageModel):
            kind = type(body).__name__
            raise RunError(f"model must be a language model with this dataset, got {kind}")

    def network(self, body: nn.Module) -> nn.Module:
        return body

    def zeros(self, device: str) -> Words:
        return torch.zeros(1, 2, dtype=torch.int64, device=device)

    def batches(self, batch_size: int, seed: int) -> "Segments":
        return Segments(self.train, batch_size, seed, self.bptt)

    def measured(self, last: bool = True) -> dict[str, Text]:
        return {"test": self.test, "valid": self.valid}

    def summary(self) -> dict[str, Any]:
        return {
            "samples": {name: len(text) for name, text in self._splits().items()},
            "num_classes": self.num_classes,
            "shape": [],
            "fingerprint": self.fingerprint,
            "canonical": self.canonical,
        }

    def _splits(self) -> dict[str, Text]:
        return {"train": self.train, "test": self.test, "valid": self.valid}


@dataclass(frozen=True)
class Segments:
    """A text in `batch_size` columns, each read on and on in segments of random length.

    x is a segment of every column, y the words that follow those of x. The lengths are a function
    of (seed, epoch) alone, so that resuming needs no state. Each rank reads its shard of the
    columns.
    """

    text: Text
    batch_size: int
    seed: int
    bptt: int = 70
    _firsts: list[int] = field(default_factory=lambda: [0], init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_bptt(self.bptt)
        if self._length < 3:
            raise ValueError(
                f"schedule.batch_size must leave at least 3 words to a column of the text, got "
                f"{self.batch_size} columns for {len(self.text)} words"
            )

    @property
    def unit(self) -> str:
        return "words"

    @property
    def _length(self) -> int:
        """Words per column."""
        return len(self.text) // self.batch_size

    def lengths(self, epoch: int) -> tuple[int, ...]:
        """The words per column of each segment of an epoch."""
        return random_lengths(self._length, self.bptt, self.seed, epoch)

    def steps(self, epoch: int) -> int:
        return len(self.lengths(epoch))

    def first(self, epoch: int) -> int:
        while len(self._firsts) <= epoch:
            self._firsts.append(self._firsts[-1] + self.steps(len(self._firsts) - 1))
        return self._firsts[epoch]

    def samples(self, epoch: int) -> int:
        return self.batch_size * sum(self.lengths(epoch))

    def extent(self, epoch: int, number: int) -> Extent:
        length = self.lengths(epoch)[number]
        return Extent(self.batch_size, self.batch_size * length, length / self.bptt)

    def epoch(self, epoch: int, first: int, rng: Rng) -> Iterator[tuple[Words, Words, Rows]]:
        """Words, next words, columns; x and y are views of the text."""
        rows = ranks.shard(torch.arange(self.batch_size, device=self.text.ids.device))
        own = self.text.columns(self.batch_size).index_select(0, rows)
        lengths = self.lengths(epoch)
        starts = accumulate(lengths, initial=0)
        for start, length in list(zip(starts, lengths, strict=False))[first:]:
            stretch = own.narrow(1, start, length + 1)
            yield stretch[:, :-1], stretch[:, 1:], rows

    @property
    def unlabelled(self) -> None:
        return None

    def more(self, count: int, rng: Rng) -> NoReturn:
        raise AssertionError("there is no unlabelled text")

    def trial(self, count: int, rng: Rng) -> tuple[Words, Words, Rows]:
        """Three random words per row, among them the last of the vocabulary, in x and in y."""
        ids, last = self.text.ids, int(self.text.ids.max())
        drawn = torch.randint(
            last + 1, (count, 4), generator=rng.device, device=ids.device, dtype=torch.int64
        )
        drawn[:, 1] = last
        return drawn[:, :-1], drawn[:, 1:], torch.arange(count, device=ids.device)


def check_bptt(bptt: int) -> None:
    """Refuse a usual length below the least."""
    if bptt < LEAST:
        raise ValueError(f"bptt must be at least {LEAST} words, got {bptt}")


@lru_cache(maxsize=4)
def random_lengths(words: int, bptt: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The lengths of segments that follow one another until fewer than two words are left.

    The last word of a column is only ever a target, so segments hold at most `words - 1` words.
    """
    generator = Generator().manual_seed(derived_seed(seed, "lengths", epoch))
    most = words // LEAST + 1
    usual = torch.rand(most, generator=generator, dtype=torch.float64) < USUAL
    noise = DEVIATION * torch.randn(most, generator=generator, dtype=torch.float64)
    mean = torch.where(usual, float(bptt), bptt / 2)
    drawn = (mean + noise).long().clamp(LEAST, bptt + MOST_MORE)
    starts = drawn.cumsum(0) - drawn
    left = words - 1 - starts[starts < words - 2]
    return tuple(drawn[: len(left)].minimum(left).tolist())
