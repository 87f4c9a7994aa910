"""The games that a GAN's two networks play: the plain one, and mixup's in two versions.

A game says on which labelled points they train. In all of them the discriminator D minimises, and
the generator g maximises, the binary cross-entropy l(D(x'), y') averaged over a batch of points x'
with labels y' (1: real, 0: fake).

Paper:    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; §3.7
            plain   max_g min_D E l(D(x), 1) + l(D(g(z)), 0)
            mixup   max_g min_D E l(D(λ x + (1 - λ) g(z)), λ)
Code:     hongyi-zhang/mixup gan/example_gan.py at 80000ce, whose mixup is a different one
Differs:  the plain sum over pairs is a mean over twice as many points, as in the code: half the
          loss, to which Adam is indifferent. The paper's minimum over λ has no meaning that we
          know; λ is drawn from Beta(α, α), once per sample. The code shuffles both batches that it
          mixes; shuffling one pairs them equally well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.contracts import Loss
from vicinal.draws import Rng, beta, permutation
from vicinal.tasks.gan.mixtures import Points

Labels = Float[Tensor, "n 1"]
Batch = tuple[Points, Labels]
Draw = Callable[[], tuple[Points, Points]]  # fresh points, as many real as fake


@runtime_checkable
class Game(Protocol):
    """The batch that trains each network; building it may draw as often as it needs."""

    def for_discriminator(self, draw: Draw, rng: Rng) -> Batch: ...
    def for_generator(self, draw: Draw, rng: Rng) -> Batch: ...


def loss(discriminator: nn.Module, batch: Batch) -> Loss:
    """Mean l(D(x'), y'): D descends it, and the generator ascends it (it saturates)."""
    points, labels = batch
    return F.binary_cross_entropy_with_logits(discriminator(points), labels)


@dataclass(frozen=True)
class Vanilla(Game):
    """No mixing."""

    def for_discriminator(self, draw: Draw, rng: Rng) -> Batch:
        return pooled(*draw())

    def for_generator(self, draw: Draw, rng: Rng) -> Batch:
        return pooled(*draw())


@dataclass(frozen=True)
class PaperMixup(Game):
    """Each real point is mixed with a fake one; the label is the real one's weight."""

    alpha: float = 0.2

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise ValueError(f"alpha must be above 0, got {self.alpha} (for no mixing: Vanilla)")

    def for_discriminator(self, draw: Draw, rng: Rng) -> Batch:
        real, fake = draw()
        lam = beta(self.alpha, len(real), rng).to(real).view(-1, 1)
        return lam * real + (1 - lam) * fake, lam

    def for_generator(self, draw: Draw, rng: Rng) -> Batch:
        return self.for_discriminator(draw, rng)


@dataclass(frozen=True)
class CodeMixup(Game):
    """For D alone, two pooled batches are mixed, λ ~ U(0, c) per sample; two real points may meet.

    A c of 0 is Vanilla, draw for draw.
    """

    c: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.c <= 1:
            raise ValueError(f"c must be between 0 and 1, got {self.c} (λ is drawn from U(0, c))")

    def for_discriminator(self, draw: Draw, rng: Rng) -> Batch:
        points, labels = pooled(*draw())
        if self.c == 0:
            return points, labels
        others, their_labels = pooled(*draw())
        partner = permutation(len(points), rng, points.device)
        lam = self.c * torch.rand(len(points), 1, generator=rng.cpu).to(points)
        return (
            lam * points + (1 - lam) * others[partner],
            lam * labels + (1 - lam) * their_labels[partner],
        )

    def for_generator(self, draw: Draw, rng: Rng) -> Batch:
        return pooled(*draw())


def pooled(real: Points, fake: Points) -> tuple[Float[Tensor, "both 2"], Float[Tensor, "both 1"]]:
    """The real points, labelled 1, and below them the fake ones, labelled 0."""
    labels = torch.cat([torch.ones_like(real[:, :1]), torch.zeros_like(fake[:, :1])])
    return torch.cat([real, fake]), labels
