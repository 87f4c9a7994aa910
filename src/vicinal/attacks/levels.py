"""AdvMix's attack: of several draws of the operators' levels, the one with the largest loss.

The network is in eval mode and records no statistics; nothing is differentiated.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vicinal.contracts import Images, PerSample, Targets
from vicinal.draws import Rng
from vicinal.images.chains import Chains, Plan, mixture, rendered
from vicinal.losses import cross_entropy
from vicinal.surgery.modes import evaluating


@dataclass(frozen=True)
class WorstLevels:
    """The worst of k = `draws` draws of all levels and signs, chosen per sample.

    All draws share the operators and the weights (m, w). Among equals the first wins.
    """

    draws: int

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, got {self.draws} (1 is AugMix's own)")

    @torch.no_grad()
    def __call__(
        self,
        model: nn.Module,
        x: Images,
        y: Targets,
        rng: Rng,
        *,
        plan: Plan,
        m: PerSample,
        w: Float[Tensor, "n b"],
    ) -> Chains:
        plans = plan.beside(*(plan.redrawn(rng) for _ in range(self.draws - 1)))
        first, *others = rendered(x, plans).split(w.shape[1], dim=1)
        worst, most = first, torch.full((len(x),), -torch.inf, device=x.device)
        with evaluating(model):
            for chains in (first, *others):
                losses = cross_entropy(model(mixture(x, chains, m, w)), y)
                higher = losses > most
                most = torch.where(higher, losses, most)
                worst = torch.where(higher.view(-1, 1, 1, 1, 1), chains, worst)
        return worst
