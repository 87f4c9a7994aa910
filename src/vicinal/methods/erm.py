"""Empirical (vicinal) risk: the mean of l(f(x'), y') over one draw (x', y') per sample.

Paper:    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; §2 (vicinal risk minimisation)
Code:     facebookresearch/mixup-cifar10 (commit eaff31a) train.py. Compared step by step in
          float64, with mixup: loss within 3e-14, gradient within 2e-14, weights within 2e-12 after
          4 epochs. With `loss: bce` plain, CutMix and Cutout steps equal those of
          chandar-lab/PatchUp (commit 31133f3) to 1e-15, mixup's to 2e-8, as its λ is float32.
Differs:  in the code each fall of the learning rate comes one epoch later than in the paper's text,
          whose schedule we follow: 2 epochs of 200 differ. The code trains CIFAR-10 only; CIFAR-100
          is normalised by its own constants here.
Cost:     1 forward, 1 backward, 1 update of BatchNorm
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity
from vicinal.draws import Rng
from vicinal.losses import LOSSES, LossName


@dataclass(frozen=True)
class Erm(Method):
    """mixup, CutMix, Cutout, … are this loss over the vicinity of that name."""

    vicinity: Vicinity
    loss: LossName = "ce"  # bce in every row of PatchUp's tables, as in its code

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        yield LOSSES[self.loss](model(x), y).mean()
