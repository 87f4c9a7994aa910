"""A student that agrees with the average of its past: CE(N(x), y) + w λ(t) |p(u) - p'(u)|².

Paper:    Tarvainen, Valpola, Mean Teachers Are Better Role Models: Weight-Averaged Consistency
          Targets Improve Semi-Supervised Deep Learning Results, NeurIPS 2017, arXiv 1703.01780; §2
          (the consistency J, the average θ'; the section is cited from memory); as Oliver et al.,
          NeurIPS 2018, arXiv 1804.09170 set it, whose numbers GradAug Table 10 compares with
Code:     brain-research/realistic-ssl-evaluation (main) lib/ssl_framework.py, lib/hparams.py: p and
          p' are softmax outputs, the square is the mean over classes; both sums are over the whole
          batch, labelled and unlabelled, so the labelled loss is half its mean; the ramp is
          λ(t) = exp(-5 (1 - t / T)²) up to T = 200,000 steps; both networks see the labelled and
          the unlabelled half as one batch and draw their noise separately; the student is tested.
          Not compared.
Differs:  the average takes in a step's weights at the start of the next step, before it is used,
          which is the same. `vicinity` is the noise: one that mixes images would ask teacher and
          student about different ones.
Cost:     2 forwards (the teacher's without gradient), 1 backward, 1 update of BatchNorm
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity, Wants
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.surgery.steps import check_ramp, count_steps, ramp_up
from vicinal.surgery.teacher import add_teacher, teacher_logits, update_teacher


@dataclass(frozen=True)
class MeanTeacher(Method):
    """`weight` is w, `decay` belongs to the average, `ramp_steps` is T."""

    vicinity: Vicinity
    weight: float = 8.0
    decay: float = 0.95
    ramp_steps: int = 200_000
    wants: ClassVar[Wants] = ("unlabelled",)

    def __post_init__(self) -> None:
        check_ramp(self.weight, self.ramp_steps)
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {self.decay}")

    @property
    def work(self) -> float:
        return 8 / 3  # the student's passes are on twice the batch; the teacher adds a forward

    def prepare(self, model: nn.Module) -> nn.Module:
        """Add a teacher and a counter of steps."""
        return count_steps(add_teacher(model))

    def __call__(
        self,
        model: nn.Module,
        x: Inputs,
        y: Targets,
        rng: Rng,
        unlabelled: Inputs | None = None,
    ) -> Iterator[Loss]:
        assert unlabelled is not None  # the loop passes what `wants` names
        update_teacher(model, self.decay)
        no_targets = torch.zeros_like(y)
        theirs = [self.vicinity(x, y, rng)[0], self.vicinity(unlabelled, no_targets, rng)[0]]
        p_teacher = teacher_logits(model, torch.cat(theirs))[len(x) :].softmax(dim=1)
        x, y = self.vicinity(x, y, rng)
        u, _ = self.vicinity(unlabelled, no_targets, rng)
        logits = model(torch.cat([x, u]))
        labelled = cross_entropy(logits[: len(x)], y).sum()
        squares = (logits[len(x) :].softmax(dim=1) - p_teacher).square().mean(dim=1).sum()
        weight = self.weight * ramp_up(model, self.ramp_steps)
        yield (labelled + weight * squares) / len(logits)
