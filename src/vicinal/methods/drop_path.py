"""Residual branches dropped per image: CE(f(x'), y') where x + F(x) is x + (b / p_l) F(x).

Paper:    Larsson, Maire, Shakhnarovich, FractalNet: Ultra-Deep Neural Networks without Residuals,
          ICLR 2017, arXiv 1605.07648; §3.1 (local drop-path; the section is cited from memory); as
          GradAug Table 1 compares with it
Code:     huggingface/pytorch-image-models (main) timm/layers/drop.py (one b per image, divided by
          its probability while training; nothing in a test). Not compared.
Differs:  FractalNet drops inputs of a join and keeps at least one; a residual sum always keeps its
          shortcut. p_l falls linearly with depth, as is usual for residual networks.
Cost:     1 forward, 1 backward, 1 update of BatchNorm
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.surgery.gates import Act, add_gates, check_survival, gating


@dataclass(frozen=True)
class DropPath(Method):
    """`survival` is p_L."""

    vicinity: Vicinity
    survival: float = 0.9

    def __post_init__(self) -> None:
        check_survival(self.survival)

    def prepare(self, model: nn.Module) -> nn.Module:
        """Add a gate at the end of every residual branch."""
        return add_gates(model, self.survival, scaled=False)

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)

        def draw(survival: float) -> Act:
            def dropped(out: Tensor) -> Tensor:
                kept = torch.rand(len(out), generator=rng.device, device=out.device) < survival
                return out * (kept.to(out) / survival).view(-1, *[1] * (out.ndim - 1))

            return dropped

        with gating(model, draw):
            loss = cross_entropy(model(x), y).mean()
        yield loss
