"""Carlini and Wagner's attack: the smallest ||x' - x||² + c · max(0, margin of x'), for several c.

Paper:    Carlini & Wagner, S&P 2017, arXiv 1608.04644, §V-A (f6; c), §V-B (w), §VI-A
Code:     bethgelab/foolbox (3.3.4), whose L2CarliniWagnerAttack(abort_early=False) gives the same
          images
Differs:  untargeted: the largest other logit takes the place of the target's;
          as in foolbox, images are shrunk by 1e-6 before atanh, an unbounded c grows tenfold, and
          from 10 searches on the last one is at the smallest c that sufficed;
          no search stops early: with abort_early=True, foolbox's default, the whole batch stops
          after a tenth of the steps in which its summed loss fell by less than 0.01 %. A sample
          would depend on the others, and the CPU would wait for the loss. So all steps are run,
          at up to ten times the cost, and a sample's c is found too small or large enough by all
          of them; images that are misclassified anyway come back exactly, as do those for which
          nothing was found (foolbox: a black image)
Cost:     `binary_search_steps` × `steps` forwards, each with a backward to the images; 1 forward
"""

from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from vicinal.attacks.attack import margins
from vicinal.attacks.smallest import Smallest, check_threat
from vicinal.attacks.threat import Region, Threat
from vicinal.contracts import Images, PerSample, Targets
from vicinal.draws import Draws
from vicinal.surgery.modes import searched

INSIDE = 0.999999  # atanh(1) is infinite
BETAS, TINY = (0.9, 0.999), 1e-8  # Adam's


@dataclass(frozen=True)
class CarliniWagner:
    """x' = low + (high - low) (tanh w + 1) / 2 with w by Adam; c by bisection per sample.

    The margin is the true logit minus the largest other one, plus `confidence`; an image counts as
    adversarial if that is negative. Perturbations longer than ε are projected.
    """

    threat: Threat
    binary_search_steps: int = 9
    steps: int = 10_000
    stepsize: float = 0.01
    confidence: float = 0.0
    initial_const: float = 1e-3

    def __post_init__(self) -> None:
        for key in ("binary_search_steps", "steps"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, got {getattr(self, key)}")
        for key in ("stepsize", "initial_const"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} must be above 0, got {getattr(self, key)}")
        if not self.confidence >= 0:
            raise ValueError(f"confidence must be at least 0, got {self.confidence}")
        check_threat(self.threat)
        if self.threat.clip == "none":
            raise ValueError(
                "threat.clip must be pixels or batches_of_100, got none "
                "(tanh maps to a range with two ends)"
            )

    @property
    def passes(self) -> int:
        """Forward passes per image; a backward pass takes as long as two."""
        return 3 * self.binary_search_steps * self.steps + 1

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Draws) -> Images:
        region = self.threat.around(model, x)
        best = Smallest.none(region.x)
        const = torch.full_like(best.distances, self.initial_const)
        lower, upper = torch.zeros_like(const), torch.full_like(const, inf)
        with searched(model):
            with torch.no_grad():
                wrong = margins(model(region.x), y) + self.confidence < 0
            best = best.or_nearer(region, region.x, wrong)
            for search in range(self.binary_search_steps):
                if search == self.binary_search_steps - 1 >= 9:
                    const = upper.clamp(max=1e10)
                best, sufficed = self._descended(model, region, y, const, best)
                upper = torch.where(sufficed, const, upper)
                lower = torch.where(sufficed, lower, const)
                const = torch.where(upper.isinf(), 10 * const, (lower + upper) / 2)
        return best.within(region)

    def _descended(
        self, model: nn.Module, region: Region, y: Targets, const: PerSample, best: Smallest
    ) -> tuple[Smallest, Bool[Tensor, " n"]]:
        """The nearest adversarial images after Adam at these c, and where it met one."""
        middle, half = (region.low + region.high) / 2, (region.high - region.low) / 2
        w = (INSIDE * (region.x - middle) / half).atanh()
        start = middle + half * w.tanh()
        mean, square = torch.zeros_like(w), torch.zeros_like(w)
        sufficed = torch.zeros_like(const, dtype=torch.bool)
        for step in range(1, self.steps + 1):
            with torch.enable_grad():
                w = w.detach().requires_grad_()
                moved = middle + half * w.tanh()
                margin = margins(model(moved), y) + self.confidence
                squares = ((moved - start) / region.scale).square().sum(dim=(1, 2, 3))
                loss = squares + const * margin.relu()
                (gradient,) = torch.autograd.grad(loss.sum(), w)
            adversarial = margin.detach() < 0
            sufficed = sufficed | adversarial
            best = best.or_nearer(region, moved.detach(), adversarial)
            mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
            square = BETAS[1] * square + (1 - BETAS[1]) * gradient.square()
            root = (square / (1 - BETAS[1] ** step)).sqrt()
            w = w.detach() - self.stepsize * mean / (1 - BETAS[0] ** step) / (root + TINY)
        return best, sufficed
