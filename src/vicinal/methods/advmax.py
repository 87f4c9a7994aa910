"""Levels, weights and geometry at their worst: CE(f(x), y) + λ JS(f(x), f(x~), f(x*)).

x~ is AugMix's. x* takes AdvMix's worst of `draws` levels, then AugMax's ascent on (m, p) over those
chains, then a flow that moves each pixel by at most `flow_bound` to the same end.

Paper:    Wang et al., AugMax, NeurIPS 2021, arXiv 2110.13771; App. B, Table 10;
          Xiao et al., StAdv, ICLR 2018, arXiv 1801.02612 (the flow)
Code:     none released
Differs:  the paper names StAdv without its strength or its place in the order. StAdv's own L-BFGS
          with a smoothness term is far too slow for training; our reading is a signed ascent on a
          bilinear flow field, as the last of the three, within one pixel at 32 pixels per side.
          Loss, routes and norm are AdvMix's.
Cost:     draws + steps + flow_steps + 3 forwards, 1 backward, 2 updates of BatchNorm (route M; A
          has 1, one route 3); each forward of the two ascents has a backward to the searched values
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from vicinal.attacks.flow import Flow
from vicinal.attacks.levels import WorstLevels
from vicinal.attacks.mixture import MixtureAscent
from vicinal.contracts import Images, Loss, Targets, Vicinity
from vicinal.draws import Rng, beta, dirichlet
from vicinal.methods.consistency import WithNorm, consistency_loss, view_of
from vicinal.surgery.dubin import Norm, routed
from vicinal.vicinities.augmix import AugMix


@dataclass(frozen=True)
class AdvMax(WithNorm):
    """`draws` is AdvMix's k, `steps` and `step_size` AugMax's n and α."""

    vicinity: Vicinity
    view: AugMix
    draws: int = 5
    steps: int = 10
    step_size: float = 0.1
    flow_bound: float = 1.0  # pixels
    flow_steps: int = 5
    lam: float = 10.0
    norm: Norm = "dubin"
    places: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _ = self.search, self.levels  # check their own settings
        for key in ("flow_bound", "flow_steps", "lam"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be at least 0, got {getattr(self, key)}")
        if not isinstance(self.view, AugMix):
            raise ValueError(f"view must be AugMix, got {self.view} (its levels are redrawn)")

    @property
    def levels(self) -> WorstLevels:
        """AdvMix's search for levels."""
        return WorstLevels(self.draws)

    @property
    def search(self) -> MixtureAscent:
        """AugMax's search for m* and p*."""
        return MixtureAscent(self.steps, self.step_size)

    @property
    def flow(self) -> Flow:
        """At half the bound per step, two steps reach the bound and the rest can turn back."""
        return Flow(self.flow_bound, self.flow_bound / 2, self.flow_steps)

    @property
    def work(self) -> float:
        searches = 2 * (self.steps + self.flow_steps)  # backwards to the images alone
        return (searches + self.draws + 9) / 3  # three views are trained on

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        with routed(model, "A"):
            hard = self._hardest(model, x, y, rng)
        view = view_of(self.view, x, y, rng)
        yield consistency_loss(model, x, y, view=view, hard=hard, lam=self.lam)

    def _hardest(self, model: nn.Module, x: Images, y: Targets, rng: Rng) -> Images:
        plan = self.view.plan(len(x), rng)
        m = beta(1.0, len(x), rng).to(x, non_blocking=True)
        w = dirichlet(len(x), self.view.width, rng).to(x, non_blocking=True)
        chains = self.levels(model, x, y, rng, plan=plan, m=m, w=w)
        mixed = self.search(model, x, y, rng, chains=chains)
        return self.flow(model, mixed, y, rng)
