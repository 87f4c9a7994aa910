"""Convex combinations of pairs: x' = λ x_i + (1 - λ) x_j, y' = λ y_i + (1 - λ) y_j.

Paper:    Zhang, Cisse, Dauphin, Lopez-Paz, mixup, ICLR 2018, arXiv 1710.09412; §1-2, Fig. 1a;
          partners of the same class ("SC + RP"): §3.8, Table 5
Code:     facebookresearch/mixup-cifar10 (commit eaff31a) train.py; hongyi-zhang/mixup
          cifar/utils.py (λ, partner). Compared step by step in float64, for given λ and partners:
          loss within 3e-14, gradient within 2e-14.
Differs:  pixels are mixed before the network normalises them; both are affine, so they commute.
          The soft-target cross-entropy replaces the two weighted ones; it is linear in the target.
Cost:     nothing beyond its method
"""

from dataclasses import dataclass
from typing import Literal

from vicinal.contracts import Inputs, Targets, Vicinity
from vicinal.draws import Rng, beta, class_permutation, permutation


@dataclass(frozen=True)
class Mixup(Vicinity):
    """λ ~ Beta(α, α), one per batch (as in both codes) or per sample; partners by permutation."""

    alpha: float = 1.0
    per: Literal["batch", "sample"] = "batch"
    among: Literal["all", "class"] = "all"  # where a sample's partner is drawn from

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ValueError(f"alpha must be at least 0, got {self.alpha} (0 leaves clean pairs)")

    def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
        if self.alpha == 0:
            return x, y
        lam = beta(self.alpha, len(x) if self.per == "sample" else 1, rng)
        if self.among == "class":
            partner = class_permutation(y.argmax(dim=1), rng)
        else:
            partner = permutation(len(x), rng, x.device)
        lam_x = lam.to(x, non_blocking=True).view(-1, *[1] * (x.ndim - 1))
        lam_y = lam.to(y, non_blocking=True).view(-1, 1)
        others = x.index_select(0, partner)  # its gradient is cheaper than x[partner]'s
        return lam_x * x + (1 - lam_x) * others, lam_y * y + (1 - lam_y) * y[partner]
