"""Residual blocks dropped at random: CE(f(x'), y') where x + F(x) is x + b F(x) while training.

Paper:    Huang, Sun, Liu, Sedra, Weinberger, Deep Networks with Stochastic Depth, ECCV 2016,
          arXiv 1603.09382; §3: Eq. 2 (b ~ Bernoulli(p_l), per batch), Eq. 4 (p_l), Eq. 5 (p_l in a
          test; 2 and 5 are cited from memory); as GradAug Tables 1 and 6 compare with it
Code:     yueatsprograms/Stochastic_Depth (commit 8389752) ResidualDrop.lua: a dropped branch is not
          computed, so its BatchNorms record nothing, and its weights get zeros as gradients. Not
          compared.
Differs:  in timm's networks a dropped branch is computed, recorded, and multiplied by 0. Ranks that
          share a batch drop the same branches.
Cost:     1 forward, 1 backward, 1 update of BatchNorm, in which dropped branches take no part
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity
from vicinal.draws import Rng, shared_coin
from vicinal.losses import cross_entropy
from vicinal.surgery.gates import Act, add_gates, check_survival, closed, gating, passing


@dataclass(frozen=True)
class StochasticDepth(Method):
    """`survival` is p_L; tests multiply each branch by its p_l."""

    vicinity: Vicinity
    survival: float = 0.5

    def __post_init__(self) -> None:
        check_survival(self.survival)

    def prepare(self, model: nn.Module) -> nn.Module:
        """Add a gate at the end of every residual branch."""
        return add_gates(model, self.survival, scaled=True)

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)

        def draw(survival: float) -> Act:
            return passing if shared_coin(survival, rng) else closed

        with gating(model, draw):
            loss = cross_entropy(model(x), y).mean()
        yield loss
