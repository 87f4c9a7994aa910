"""The worst mixture of random chains: CE(f(x), y) + λ JS(f(x), f(x~), f(x*)); x~ is AugMix's.

x* = g(x; m*, w*) with g = (1 - m) x + m Σ_i w_i a_i, where m* and w* = softmax(p*) maximise the
cross-entropy and the chains a_i stay as they were drawn; x~ mixes three other chains at random.

Paper:    Wang et al., AugMax, NeurIPS 2021, arXiv 2110.13771; Eq. 2-4 (x*), Eq. 5-6 (loss), Alg. 1
          (ascent), Alg. 2, §3.3 (DuBIN)
Code:     VITA-Group/AugMax (commit 176acdb) augmax_training_ddp.py, utils/attacks.py,
          augmax_modules/augmax.py. Compared step by step in float64, with its PGD attacker: loss
          within 4e-15, gradient within 1e-14, weights and statistics within 5e-15.
Differs:  where paper and code disagree the default is the code, which made the published numbers.
          `loss: paper` adds the cross-entropy of x* (Eq. 5); `routing: paper` sends the AugMix view
          through BN_a. The code's per-sample early stop never takes effect, because it masks a
          copy, so the default is none. The code also ends the ascent once every sample of the batch
          is missed. That happens only in the first steps of training, and we do not copy it because
          it makes samples depend on their batch; such a step differs by 7e-4 in the loss.
          `early_stop: paper` counts misses after each update (Alg. 1, but any k of them),
          `intended` before each. The search differentiates m and p only. The three forwards are
          separate, in the code's order; `vicinity` comes before all of it. Of epochs with equal
          accuracy the code keeps the last as its best, we the first. Under bf16, our default on
          GPUs, 2 to 6 % of the search's signs differ from float32's; they carry at most 1 % of the
          gradient (measured on a small network).
Cost:     steps + 3 forwards (steps to search), 1 backward, 2 updates of BatchNorm (route M; A has
          1, paper routing 1 and 2, one route 3); each forward of the search, which is in eval mode,
          has a backward to m and p
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from vicinal.attacks.mixture import EarlyStop, MixtureAscent
from vicinal.contracts import Images, Loss, Targets, Vicinity
from vicinal.draws import Rng
from vicinal.methods.consistency import LossForm, WithNorm, consistency_loss, view_of
from vicinal.surgery.dubin import Norm, routed
from vicinal.vicinities.augmix import AugMix


@dataclass(frozen=True)
class AugMax(WithNorm):
    """n = `steps`, α = `step_size`, k = `patience`; λ is 10 on CIFAR and Tiny-ImageNet."""

    vicinity: Vicinity
    view: AugMix
    steps: int = 10
    step_size: float = 0.1
    lam: float = 10.0
    early_stop: EarlyStop = "none"
    patience: int = 1
    loss: LossForm = "code"
    routing: Literal["code", "paper"] = "code"
    norm: Norm = "dubin"
    places: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _ = self.search  # checks its own settings
        if self.lam < 0:
            raise ValueError(f"lam must be at least 0, got {self.lam} (it weighs a divergence)")
        if self.routing == "paper" and self.norm in ("bn", "ibn"):
            raise ValueError(f"routing must be code when norm is {self.norm} (it has one route)")
        if not isinstance(self.view, AugMix):
            raise ValueError(f"view must be AugMix, got {self.view} (its chains are weighted)")

    @property
    def search(self) -> MixtureAscent:
        """The search for m* and p*."""
        return MixtureAscent(self.steps, self.step_size, self.early_stop, self.patience)

    @property
    def work(self) -> float:
        search = 2 * self.steps  # backwards to the images alone
        return (search + 9) / 3  # three views are trained on

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        chains = self.view.chains(x, rng)
        with routed(model, "A"):
            hard = self.search(model, x, y, rng, chains=chains)
        yield consistency_loss(
            model,
            x,
            y,
            view=view_of(self.view, x, y, rng),
            hard=hard,
            lam=self.lam,
            form=self.loss,
            view_route="M" if self.routing == "code" else "A",
        )
