"""Empirical (vicinal) risk: the mean of l(f(x'), y') over one draw (x', y') a sample.

Paper:    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; §2 (vicinal risk minimisation)
Code:     facebookresearch/mixup-cifar10 train.py
Differs:  nothing known
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
    """mixup, CutMix, Cutout, … are this over that vicinity."""

    vicinity: Vicinity
    loss: LossName = "ce"  # bce in every row of PatchUp's tables, as its code has it

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        yield LOSSES[self.loss](model(x), y).mean()
