"""Self-guided sub-networks: CE(N(f(x)), y') + Σ_i KL(softmax(N(f(x))) || N_wi(T(f(x)))), i = 1..n.

Paper:    Yang, Zhu, Chen, GradAug, NeurIPS 2020, arXiv 2006.07989; Alg. 1, Eq. 4 (the sum), Eq. 6
          (over an augmentation f), §3.1 (soft labels, the smallest sub-network, statistics)
Code:     taoyang1122/GradAug (commit bae97ea) train.py, train_cifar.py, models/randwidth_ops.py.
          Compared step by step in float64: loss terms within 7e-15, gradient within 3e-15, weights
          within 2e-15.
Differs:  the targets are detached, as in the code; Alg. 1 does not say so. KL and the soft
          cross-entropy have one gradient. With n = 1 the width is drawn, as the paper says (the
          code always takes alpha). The code does not narrow grouped convolutions; ours keep their
          first channels too, in a last group that may be cut. `alpha: 1` is Table 4's RandScale
          (soft targets and frozen statistics: our reading), `transform.scales: [1]` its RandWidth,
          `transform.rotate: true` Table 5's rotations. BatchNorm normalises a rank's share of the
          batch, in the code a GPU's: 64 images on ImageNet and with WRN, 32 with PyramidNet. The
          code initialises ResNet-50's classifier from N(0, 0.01) with zero bias; timm's, ours, is
          uniform with a deviation of 0.0128 and a small bias. Cutting widths by 8, as in the code's
          first release, is not offered. `widths_step`, which is ours, rounds the drawn widths to a
          grid from alpha up, so that the few there are can be compiled.
Cost:     num_subnets + 1 forwards, num_subnets + 1 backwards, 1 update of BatchNorm; the loss comes
          in num_subnets + 1 terms, so that one network's activations are held at a time
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity
from vicinal.draws import Rng
from vicinal.losses import cross_entropy, kl_divergence
from vicinal.surgery.modes import frozen_statistics
from vicinal.surgery.slimmable import check_slimmable, narrowed, untuned

MOST_STEPS = 10  # of a grid of widths; dynamo's limit is for all sizes of images and all passes


@dataclass(frozen=True)
class GradAug(Method):
    """`vicinity` is f, `transform` is T; n = 3 and alpha = 0.8 on CIFAR, 0.9 on ImageNet."""

    vicinity: Vicinity
    transform: Vicinity
    num_subnets: int = 3
    alpha: float = 0.8
    soft_labels: bool = True
    smallest: bool = True
    widths_step: float | None = None  # None draws as the paper does

    def __post_init__(self) -> None:
        check_widths(self.num_subnets, self.alpha)
        if self.widths_step is not None:
            check_step(self.widths_step, self.alpha)

    @property
    def work(self) -> float:
        return self.num_subnets + 1

    def prepare(self, model: nn.Module) -> nn.Module:
        """Unchanged, once checked that it can be narrowed."""
        check_slimmable(model)
        return model

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        logits = model(x)
        q = logits.detach().softmax(dim=1) if self.soft_labels else y
        yield cross_entropy(logits, y).mean()
        recurs = self.widths_step is not None
        for drawn in widths(self.num_subnets, self.alpha, self.smallest, rng):
            step = self.widths_step
            width = drawn if step is None else rounded(drawn, self.alpha, step)
            x_i, q_i = self.transform(x, q, rng)
            with untuned(shapes_are_new=not recurs and width not in (1, self.alpha)):
                # Frozen at a width of 1 too, because the transformed images distort the statistics.
                with frozen_statistics(model), narrowed(model, width, recurs=recurs):
                    logits = model(x_i)
                yield kl_divergence(logits, q_i).mean()


def check_widths(num_subnets: int, alpha: float) -> None:
    """Refuse settings that no width satisfies."""
    if num_subnets < 0:
        raise ValueError(f"num_subnets must be at least 0, got {num_subnets}")
    if not 0 < alpha <= 1:
        raise ValueError(
            f"alpha must be above 0 and at most 1, got {alpha} (widths are in [alpha, 1])"
        )


def check_step(step: float, alpha: float) -> None:
    """Refuse a grid without widths between alpha and 1, and one with too many to compile."""
    if step <= 0 or not 1 <= round((1 - alpha) / step, 6) <= MOST_STEPS:
        raise ValueError(
            f"widths_step must be between (1 - alpha) / {MOST_STEPS} and 1 - alpha, got {step} and "
            f"alpha {alpha} (every width is compiled)"
        )


def rounded(width: float, alpha: float, step: float) -> float:
    """The nearest of alpha, alpha + step, …, and at most 1."""
    return min(alpha + step * round((width - alpha) / step), 1.0)


def widths(count: int, alpha: float, smallest: bool, rng: Rng) -> list[float]:
    """`count` draws of U(alpha, 1), widest first; if `smallest`, alpha replaces one of several."""
    fixed = [alpha] if smallest and count > 1 else []
    drawn = torch.rand(count - len(fixed), dtype=torch.float64, generator=rng.shared)
    return sorted([*fixed, *(alpha + (1 - alpha) * drawn).tolist()], reverse=True)
