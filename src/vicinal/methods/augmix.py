"""Consistency under augmentation: CE(f(x), y) + λ JS(f(x), f(x'), f(x'')), x' and x'' two views.

Paper:    Hendrycks et al., AugMix, ICLR 2020, arXiv 1912.02781; Alg. 1, §3 (JS loss, λ = 12)
Code:     google-research/augmix (commit 9b9824c) cifar.py. Compared for one loss in float64, with
          `norm: bn`: loss within 9e-16, gradient within 3e-16.
Differs:  nothing known where `norm` is bn: one forward of the three views side by side, so that
          they share BatchNorm's batch; gradient through all three; M clamped at 1e-7. The views are
          drawn on the device, from a vicinity that keeps the targets; they are views of what
          `vicinity` made. Norms other than bn are AugMax Table 8's rows AugMix-IBN, -DuBN and
          -DuBIN, whose code was not released: on two routes the clean images take M, both views
          take A together (AugMax §4.3). Without the JS term: ERM over the view.
Cost:     1 forward (2 on two routes), 1 backward, 1 update of BatchNorm (of each route); three
          times the batch
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from vicinal.contracts import Inputs, Loss, Targets, Vicinity
from vicinal.draws import Rng
from vicinal.losses import cross_entropy, jensen_shannon
from vicinal.methods.consistency import WithNorm, view_of
from vicinal.surgery.dubin import Norm, routed


@dataclass(frozen=True)
class AugMix(WithNorm):
    """`view` draws x' and x''; `vicinity` makes the x and y that they are views of."""

    vicinity: Vicinity
    view: Vicinity
    lam: float = 12.0
    norm: Norm = "bn"
    places: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.lam < 0:
            raise ValueError(f"lam must be at least 0, got {self.lam} (it weighs a divergence)")

    @property
    def work(self) -> float:
        return 3.0  # views

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        views = [view_of(self.view, x, y, rng) for _ in range(2)]
        if self.norm in ("dubn", "dubin"):
            with routed(model, "A"):
                augmented = model(torch.cat(views))
            logits = [model(x), *augmented.split(len(x))]
        else:
            logits = list(model(torch.cat([x, *views])).split(len(x)))
        yield cross_entropy(logits[0], y).mean() + self.lam * jensen_shannon(logits).mean()
