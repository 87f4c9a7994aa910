"""Empirical risk with dropout inside the residual blocks, between their two convolutions.

h' = m ⊙ h / (1 - p), m ~ Bernoulli(1 - p) for every entry of a second convolution's input.

Paper:    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; §3.4 and Table 2, after Zagoruyko,
          Komodakis, Wide Residual Networks, BMVC 2016, arXiv 1605.07146; §2.4
Code:     szagoruyko/wide-residual-networks (main) models/wide-resnet.lua; none released for mixup's
          table. Not compared.
Differs:  nothing known. `p` is the probability to drop. A block of three convolutions has the
          dropout in its first gap.
Cost:     1 forward, 1 backward, 1 update of BatchNorm
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity
from vicinal.draws import Rng
from vicinal.losses import LOSSES, LossName
from vicinal.surgery.taps import Features, between_convolutions, tap_input


@dataclass(frozen=True)
class Dropout(Method):
    """Over a vicinity: with mixup it is "mixup + dropout"."""

    vicinity: Vicinity
    p: float = 0.5
    loss: LossName = "ce"

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise ValueError(f"p must be at least 0 and below 1, got {self.p} (the share dropped)")

    def prepare(self, model: nn.Module) -> nn.Module:
        between_convolutions(model)
        return model

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        with ExitStack() as taps:
            for name in between_convolutions(model):
                taps.enter_context(tap_input(model, name, lambda h: self._dropped(h, rng)))
            logits = model(x)
        yield LOSSES[self.loss](logits, y).mean()

    def _dropped(self, h: Features, rng: Rng) -> Features:
        kept = torch.rand(h.shape, generator=rng.device, device=h.device) >= self.p
        return h * kept.to(h.dtype).div_(1 - self.p)
