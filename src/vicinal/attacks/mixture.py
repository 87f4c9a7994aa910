"""AugMax's attack: the mixture of given chains that raises the loss most.

The network is in eval mode and records no statistics. Only the weights of the mixture are
differentiated, so every parameter's `.grad` stays as it was.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vicinal.contracts import Images, Targets
from vicinal.draws import Rng
from vicinal.images.chains import Chains, mixture
from vicinal.losses import cross_entropy
from vicinal.surgery.modes import searched

EarlyStop = Literal["none", "paper", "intended"]


@dataclass(frozen=True)
class MixtureAscent:
    """AugMax Alg. 1: ascend on m in [0, 1] and on p, w = softmax(p), by the gradient's sign.

    A sample stops once it has been misclassified `patience` times. Misses are counted after each
    update (`paper`) or before each, the first included (`intended`); both use the same forwards.
    """

    steps: int
    step_size: float
    early_stop: EarlyStop = "none"
    patience: int = 1

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps must be at least 0, got {self.steps} (0 mixes at random)")
        if self.step_size <= 0:
            raise ValueError(f"step_size must be above 0, got {self.step_size}")
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1, got {self.patience} (misses)")
        if self.early_stop == "none" and self.patience != 1:
            raise ValueError(
                f"patience must be 1 when early_stop is none, got {self.patience} "
                "(it counts the misses before an early stop)"
            )

    def __call__(
        self, model: nn.Module, x: Images, y: Targets, rng: Rng, *, chains: Chains
    ) -> Images:
        start = torch.rand((len(x), 1 + chains.shape[1]), generator=rng.cpu)
        start = start.to(x, non_blocking=True)
        m, p = start[:, 0], start[:, 1:]
        misses = torch.zeros(len(x), device=x.device)
        with searched(model), torch.enable_grad():
            for step in range(self.steps):
                m, p = m.detach().requires_grad_(), p.detach().requires_grad_()
                logits = model(mixture(x, chains, m, p.softmax(dim=1)))
                # Summed, so that a sample's gradient does not depend on the size of the batch.
                loss = cross_entropy(logits, y).sum()
                towards_m, towards_p = (g.sign() for g in torch.autograd.grad(loss, [m, p]))
                if self.early_stop != "none":
                    if step > 0 or self.early_stop == "intended":
                        misses += logits.argmax(dim=1) != y.argmax(dim=1)
                    going = (misses < self.patience).to(x)
                    towards_m, towards_p = towards_m * going, towards_p * going[:, None]
                m = (m.detach() + self.step_size * towards_m).clamp(0, 1)
                p = p.detach() + self.step_size * towards_p
        return mixture(x, chains, m.detach(), p.detach().softmax(dim=1))
