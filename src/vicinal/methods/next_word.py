"""A language model's loss: mean CE(f(x), next word) + α mean f_T² + β mean (h_{t+1} - h_t)².

f_T are the last layer's outputs after dropout, h before. Words are dropped, embedded words drawn
from a vicinity; of m drawn dropouts each text of a batch keeps its worst (MaxUp); ε lowers the
target's logit by ε ‖w‖ ‖f_T‖ where its embedding w has w · f_T > 0 (adversarial softmax).

Paper:    Merity, Keskar, Socher, ICLR 2018, arXiv 1708.02182; §4.3 (word dropout), §4.6 (α, β);
          Wang, Gong, Liu, Improving Neural Language Modeling via Adversarial Training, ICML 2019,
          arXiv 1906.03805; Eq. 6-7 (ε); Gong, Ren, Ye, Liu, MaxUp, arXiv 2002.09024; Eq. 2, §4.3
Code:     salesforce/awd-lstm-lm (commit 32fcb42) main.py, model.py; ChengyueGongR/advsoft (commit
          3f7b04e) mos-awd-lstm-lm/model.py, for ε and the noise of embedded words, which is added
          after word dropout; none released for MaxUp. Not compared. (It needs an older PyTorch.)
Differs:  the authors' ε writes its changes of embeddings into a buffer with a row per word, so that
          all places of a word share the last one's; here each has its own, as in the equations.
          The lowered logit is computed in closed form, for the loss of a target z_y + s is
          CE + log(1 + p_y (e^s - 1)) - s: no second tensor of logits is needed.
          MaxUp's paper leaves open how copies are selected: a sentence is a row of the batch, its
          loss the mean CE of its words as it is trained (with ε and smoothing, without α and β).
          A copy is a draw of word dropout; all other noise (dropouts, embedded words) is the same
          in every copy and in the update. Of equal copies the first is kept, NaN is the largest.
          The state that is carried on is that of the update.
          No paper has mixup of texts: `features: mixup` mixes embedded rows, and the CE of both.
Cost:     1 + (copies > 1) forwards, 1 backward, 0 updates of BatchNorm; with copies the first is
          without gradient, of all copies at once: an LSTM at the papers' batches waits for the word
          before, not for arithmetic
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.contracts import (
    Embedded,
    LanguageModel,
    Loss,
    Memory,
    Method,
    PerSample,
    Read,
    Targets,
    Vicinity,
    Wants,
    Words,
)
from vicinal.draws import Rng
from vicinal.vicinities.word_dropout import WordDropout


class Copy(NamedTuple):
    """One draw from the vicinity of a batch of texts."""

    embedded: Embedded
    rows: Targets | None  # whose next words count, and how much; None: each text's own


@dataclass(frozen=True)
class NextWord(Method):
    """AWD-LSTM's loss; `features` draws embedded words, `copies` is MaxUp's m."""

    wants: ClassVar[Wants] = ("memory",)

    word_dropout: WordDropout
    features: Vicinity
    copies: int = 1
    epsilon: float = 0.0
    alpha: float = 2.0
    beta: float = 1.0
    smoothing: float = 0.0  # share of a target that is spread over all words

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise ValueError(
                f"copies must be at least 1, got {self.copies} "
                "(MaxUp keeps the worst of m copies; m = 1 is ordinary word dropout)"
            )
        for name in ("epsilon", "alpha", "beta"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.smoothing <= 1:
            raise ValueError(f"smoothing must be between 0 and 1, got {self.smoothing}")

    def prepare(self, model: nn.Module) -> nn.Module:
        """Refuse ε for a mixture of softmaxes, none of which has the target's logit alone."""
        if self.epsilon and isinstance(model, LanguageModel) and model.num_softmaxes > 1:
            raise ValueError(
                f"method.epsilon must be 0 for a mixture of {model.num_softmaxes} softmaxes, got "
                f"{self.epsilon} (it lowers a target's logit, and a mixture has one per softmax)"
            )
        return model

    @property
    def work(self) -> float:
        return (self.copies + 3) / 3 if self.copies > 1 else 1.0

    def __call__(
        self, model: nn.Module, x: Words, y: Words, rng: Rng, *, memory: Memory | None = None
    ) -> Iterator[Loss]:
        assert isinstance(model, LanguageModel)  # the data refuse others
        assert memory is not None  # the loop passes what `wants` names
        copies = self._drawn(model, x, rng)
        embedded, rows = copies[0]
        if len(copies) > 1:
            embedded = self._worst(model, copies, y, memory)
        read = model(embedded, memory.state)
        memory.state = tuple(each.detach() for each in read.state)
        loss = self._losses(model, read, y, rows).mean()
        loss = loss + self.alpha * read.features.pow(2).mean()
        if y.shape[1] > 1:
            loss = loss + self.beta * F.mse_loss(read.outputs[:, 1:], read.outputs[:, :-1])
        yield loss

    def _drawn(self, model: LanguageModel, x: Words, rng: Rng) -> list[Copy]:
        """Copies that differ in the dropped words alone."""
        embedded, num_words = model.embed(x), model.classifier.out_features
        masks = [self.word_dropout(x, num_words, rng) for _ in range(self.copies)]
        own = torch.eye(len(x), dtype=embedded.dtype, device=x.device)
        state, copies = rng.state() if self.copies > 1 else {}, list[Copy]()
        for mask in masks:
            if copies:
                rng.restore(state)
            vectors, rows = self.features(embedded * mask.to(embedded.dtype)[..., None], own, rng)
            copies.append(Copy(vectors, None if rows is own else rows))
        return copies

    def _worst(
        self, model: LanguageModel, copies: list[Copy], y: Words, memory: Memory
    ) -> Embedded:
        """Each text as in the copy with its largest loss; uses up no randomness."""
        versions = torch.stack([copy.embedded for copy in copies])
        with torch.no_grad(), torch.random.fork_rng([y.device] if y.is_cuda else []):
            read = model(versions.flatten(0, 1), memory.state, len(copies))
            reads = map(Read, *(each.chunk(len(copies)) for each in read[:3]), [()] * len(copies))
            losses = [
                self._losses(model, each, y, copy.rows)
                for each, copy in zip(reads, copies, strict=True)
            ]
        worst = torch.stack(losses).argmax(0)
        return versions[worst, torch.arange(len(y), device=y.device)]

    def _losses(
        self, model: LanguageModel, read: Read, y: Words, rows: Targets | None
    ) -> PerSample:
        """The CE of each text, the mean over its words."""
        log_p = read.logits.log_softmax(2)
        targets = y[..., None] if rows is None else y.T.expand(len(y), -1, -1)
        loss = own = -log_p.gather(2, targets)
        if self.smoothing:
            loss = (1 - self.smoothing) * own - self.smoothing * log_p.mean(2, keepdim=True)
        if self.epsilon:
            shift = self._shift(model, read, targets)
            share = 1 - self.smoothing + self.smoothing / log_p.shape[2]
            loss = loss + torch.log1p((-own).exp() * shift.expm1()) - share * shift
        return (loss if rows is None else loss * rows[:, None]).sum(2).mean(1)

    def _shift(
        self, model: LanguageModel, read: Read, targets: Int64[Tensor, "n t j"]
    ) -> Float[Tensor, "n t j"]:
        """What is added to the logits of targets."""
        w = F.embedding(targets, model.classifier.weight.detach())
        h = read.features.to(read.logits.dtype)[:, :, None]
        towards = (w * h.detach()).sum(3) > 0
        return -self.epsilon * w.norm(dim=3) * towards * h.norm(dim=3)
