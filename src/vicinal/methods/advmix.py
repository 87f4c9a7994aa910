"""The worst levels of AugMix's operators: CE(f(x), y) + λ JS(f(x), f(x~), f(x*)); x~ is AugMix's.

x* mixes chains whose operators, lengths and weights are drawn once. All their levels and signs are
drawn `draws` times, and each sample takes the draw with its largest cross-entropy.

Paper:    Wang et al., AugMax, NeurIPS 2021, arXiv 2110.13771; App. B, Table 10 (k = 5)
Code:     none released
Differs:  the paper says how x* is made, not how it is trained on: our reading puts it where AugMax
          has its own image, with the loss and the routes of AugMax's code. The levels are scored in
          the way that AugMax searches, in eval mode on route A. Table 10 does not name the norm;
          dubin is our choice.
Cost:     draws + 3 forwards (draws to score), 1 backward, 2 updates of BatchNorm (route M; A has 1,
          one route 3); the scoring is in eval mode, without gradient
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from vicinal.attacks.levels import WorstLevels
from vicinal.contracts import Images, Loss, Targets, Vicinity
from vicinal.draws import Rng, beta, dirichlet
from vicinal.images.chains import mixture
from vicinal.methods.consistency import WithNorm, consistency_loss, view_of
from vicinal.surgery.dubin import Norm, routed
from vicinal.vicinities.augmix import AugMix


@dataclass(frozen=True)
class AdvMix(WithNorm):
    """`draws` is the paper's k."""

    vicinity: Vicinity
    view: AugMix
    draws: int = 5
    lam: float = 10.0
    norm: Norm = "dubin"
    places: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _ = self.attack  # checks its own setting
        if self.lam < 0:
            raise ValueError(f"lam must be at least 0, got {self.lam} (it weighs a divergence)")
        if not isinstance(self.view, AugMix):
            raise ValueError(f"view must be AugMix, got {self.view} (its levels are redrawn)")

    @property
    def attack(self) -> WorstLevels:
        """The search for the levels of x*."""
        return WorstLevels(self.draws)

    @property
    def work(self) -> float:
        return (self.draws + 9) / 3  # three views are trained on

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        plan = self.view.plan(len(x), rng)
        m = beta(1.0, len(x), rng).to(x, non_blocking=True)
        w = dirichlet(len(x), self.view.width, rng).to(x, non_blocking=True)
        with routed(model, "A"):
            chains = self.attack(model, x, y, rng, plan=plan, m=m, w=w)
        hard = mixture(x, chains, m, w)
        view = view_of(self.view, x, y, rng)
        yield consistency_loss(model, x, y, view=view, hard=hard, lam=self.lam)
