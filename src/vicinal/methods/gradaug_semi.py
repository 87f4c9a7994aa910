"""GradAug, plus λ(t) Σ_i KL(softmax(N(u)) || N_wi(T(u))) over unlabelled images u.

Paper:    Yang, Zhu, Chen, GradAug, NeurIPS 2020, arXiv 2006.07989; §4.6 ("leverage the full-network
          to generate labels for unlabeled data and use them to train the sub-networks"), Table 10
Code:     none released; the details are in a supplement that we have not seen
Differs:  no difference can be known. Our reading: no full-width loss on u, whose labels are
          detached and come from a pass in train mode that updates no statistics; as many u as
          labelled images, each set with its own terms; λ(t) = exp(-5 (1 - t / T)²) up to
          T = 200,000 of 500,000 steps, the ramp of Oliver et al. (arXiv 1804.09170), whose settings
          §4.6 takes.
Cost:     2 * num_subnets + 2 forwards, 2 * num_subnets + 1 backwards, 1 update of BatchNorm; the
          labels' forward is without gradient
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity, Wants
from vicinal.draws import Rng
from vicinal.losses import cross_entropy, kl_divergence
from vicinal.methods.gradaug import check_widths, widths
from vicinal.surgery.modes import frozen_statistics
from vicinal.surgery.slimmable import check_slimmable, narrowed, untuned
from vicinal.surgery.steps import check_ramp, count_steps, ramp_up


@dataclass(frozen=True)
class GradAugSemi(Method):
    """`weight` is the value that λ ramps up to; `ramp_steps` is T, 40 % of the steps."""

    vicinity: Vicinity
    transform: Vicinity
    num_subnets: int = 3
    alpha: float = 0.8
    weight: float = 1.0
    ramp_steps: int = 200_000
    wants: ClassVar[Wants] = ("unlabelled",)

    def __post_init__(self) -> None:
        if self.num_subnets < 1:
            raise ValueError(
                f"num_subnets must be at least 1, got {self.num_subnets} "
                "(only sub-networks see unlabelled images)"
            )
        check_widths(self.num_subnets, self.alpha)
        check_ramp(self.weight, self.ramp_steps)

    @property
    def work(self) -> float:
        labelled = 3 * (self.num_subnets + 1)
        unlabelled = 1 + 3 * self.num_subnets  # the targets cost one forward
        return (labelled + unlabelled) / 3

    def prepare(self, model: nn.Module) -> nn.Module:
        """Add a counter of steps, once checked that it can be narrowed."""
        check_slimmable(model)
        return count_steps(model)

    def __call__(
        self,
        model: nn.Module,
        x: Inputs,
        y: Targets,
        rng: Rng,
        unlabelled: Inputs | None = None,
    ) -> Iterator[Loss]:
        assert unlabelled is not None  # the loop passes what `wants` names
        x, y = self.vicinity(x, y, rng)
        u, _ = self.vicinity(unlabelled, torch.zeros_like(y), rng)
        weight = self.weight * ramp_up(model, self.ramp_steps)
        logits = model(x)
        q = logits.detach().softmax(dim=1)
        yield cross_entropy(logits, y).mean()
        with frozen_statistics(model), torch.no_grad():
            q_u = model(u).softmax(dim=1)
        for width in widths(self.num_subnets, self.alpha, smallest=True, rng=rng):
            new = width not in (1, self.alpha)
            for images, targets, factor in ((x, q, 1.0), (u, q_u, weight)):
                x_i, q_i = self.transform(images, targets, rng)
                with untuned(shapes_are_new=new):
                    with frozen_statistics(model), narrowed(model, width):
                        logits = model(x_i)
                    yield factor * kl_divergence(logits, q_i).mean()
