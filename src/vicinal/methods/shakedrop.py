"""Shaken residual branches: CE(f(x'), y') where x + F(x) is x + (b + α - b α) F(x) while training.

Paper:    Yamada, Iwamura, Akiba, Kise, ShakeDrop Regularization for Deep Residual Learning, IEEE
          Access 7, 2019, arXiv 1802.02375; its definition (b, α forward; b, β backward;
          E[b + α - b α] in a test) and the linear decay rule; as GradAug Tables 1, 3 and 10
          compare with it
Code:     owruby/shake-drop_pytorch (main) models/shakedrop.py: b ~ Bernoulli(p_l) per batch,
          α ~ U[-1, 1] and β ~ U[0, 1] per image; after a block's last BatchNorm. Not compared.
Differs:  blocks without a BatchNorm at the branch's end (WRN, pre-activation) are shaken after
          their last convolution
Cost:     1 forward, 1 backward, 1 update of BatchNorm
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity
from vicinal.draws import Rng, coins
from vicinal.losses import cross_entropy
from vicinal.surgery.gates import Act, add_gates, check_survival, gating, passing


@dataclass(frozen=True)
class ShakeDrop(Method):
    """`survival` is p_L; tests multiply each branch by its p_l, since E[α] is taken as 0."""

    vicinity: Vicinity
    survival: float = 0.5
    alpha: Sequence[float] = (-1.0, 1.0)  # the range of forward factors
    beta: Sequence[float] = (0.0, 1.0)  # the range of backward factors

    def __post_init__(self) -> None:
        check_survival(self.survival)
        for name in ("alpha", "beta"):
            ends = list(getattr(self, name))
            if len(ends) != 2 or ends[0] > ends[1]:
                raise ValueError(f"{name} must be a range [low, high], got {ends}")
        if sum(self.alpha) != 0:
            raise ValueError(f"alpha must be a range around 0, got {list(self.alpha)}")

    def prepare(self, model: nn.Module) -> nn.Module:
        """Add a gate at the end of every residual branch."""
        return add_gates(model, self.survival, scaled=True)

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)

        def shaken(out: Tensor) -> Tensor:
            alpha, beta = (uniform(ends, out, rng) for ends in (self.alpha, self.beta))
            return Shake.apply(out, alpha, beta)  # pyright: ignore[reportReturnType]

        def draw(survival: float) -> Act:
            return passing if coins(survival, 1, rng).item() else shaken

        with gating(model, draw):
            loss = cross_entropy(model(x), y).mean()
        yield loss


class Shake(torch.autograd.Function):
    """α x forward, β times the gradient backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        """One factor per image."""
        ctx.save_for_backward(beta)
        return alpha * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Another factor per image."""
        (beta,) = ctx.saved_tensors
        return beta * grad, None, None


def uniform(ends: Sequence[float], like: Tensor, rng: Rng) -> Tensor:
    """One draw per image, shaped to multiply `like`."""
    low, high = ends
    drawn = torch.rand(len(like), generator=rng.device, device=like.device, dtype=like.dtype)
    return (low + (high - low) * drawn).view(-1, *[1] * (like.ndim - 1))
