"""Self-guided shallow networks: CE(N(f(x)), y') + Σ_i KL(softmax(N(f(x))) || N_i(T(f(x)))).

Paper:    Yang, Zhu, Chen, GradAug, NeurIPS 2020, arXiv 2006.07989; §4.3 "Generating sub-networks
          by stochastic depth", Table 6; N_i is a draw of Huang et al.'s stochastic depth
Code:     taoyang1122/GradAug (commit bae97ea) models/resnet_randdepth.py. Compared for given gates
          in float64: logits and gradient equal to the last digit.
Differs:  the code keeps the last block with probability 0.8 and starts from 1 at the first; ours
          are Huang et al.'s 0.5 and 1 - (l / L)(1 - p_L), as the paper says. The code's transformed
          sub-networks update the running statistics, against the paper's §3.1; ours do not. Tests
          run the full network as it was trained; `scaled` is the code's multiplication by p_l.
Cost:     num_subnets + 1 forwards, num_subnets + 1 backwards, 1 update of BatchNorm; the loss comes
          in num_subnets + 1 terms
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity
from vicinal.draws import Rng, shared_coin
from vicinal.losses import cross_entropy, kl_divergence
from vicinal.surgery.gates import Act, add_gates, check_survival, closed, gating, passing
from vicinal.surgery.modes import frozen_statistics


@dataclass(frozen=True)
class GradAugDepth(Method):
    """`vicinity` is f, `transform` is T, `survival` is p_L."""

    vicinity: Vicinity
    transform: Vicinity
    num_subnets: int = 3
    survival: float = 0.5
    scaled: bool = False

    def __post_init__(self) -> None:
        if self.num_subnets < 0:
            raise ValueError(f"num_subnets must be at least 0, got {self.num_subnets}")
        check_survival(self.survival)

    @property
    def work(self) -> float:
        return self.num_subnets + 1

    def prepare(self, model: nn.Module) -> nn.Module:
        """Add a gate at the end of every residual branch."""
        return add_gates(model, self.survival, scaled=self.scaled)

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        logits = model(x)
        q = logits.detach().softmax(dim=1)
        yield cross_entropy(logits, y).mean()

        def draw(survival: float) -> Act:
            return passing if shared_coin(survival, rng) else closed

        for _ in range(self.num_subnets):
            x_i, q_i = self.transform(x, q, rng)
            with frozen_statistics(model), gating(model, draw):
                logits = model(x_i)
            yield kl_divergence(logits, q_i).mean()
