"""Words left out of a text: e'_it = m_v e_it for v = x_it, with m_v ~ Bernoulli(1 - p) / (1 - p).

Paper:    Gal, Ghahramani, 2016, arXiv 1512.05287, as in Merity, Keskar, Socher, ICLR 2018,
          arXiv 1708.02182; §4.3; MaxUp §4.3 draws its copies so
Code:     salesforce/awd-lstm-lm embed_regularize.py, which masks the rows of the whole matrix. To
          mask the rows that are read gives the same vectors and the same gradients.
Differs:  nothing known. Only what is read is masked, not the softmax layer that shares the matrix.
Cost:     nothing beyond its method
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vicinal.contracts import Words
from vicinal.draws import Rng


@dataclass(frozen=True)
class WordDropout:
    """Draws a factor per word of the vocabulary, and returns those of the positions, in float64."""

    p: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise ValueError(f"p must be at least 0 and below 1, got {self.p} (the share dropped)")

    def __call__(self, x: Words, num_words: int, rng: Rng) -> Float[Tensor, "n t"]:
        kept = torch.rand(num_words, generator=rng.device, device=x.device) >= self.p
        return (kept.double() / (1 - self.p))[x]
