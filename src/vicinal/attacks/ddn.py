"""Decoupled direction and norm: steps along the gradient, onto a sphere that shrinks once crossed.

Paper:    Rony et al., CVPR 2019, arXiv 1811.09600, Alg. 1
Code:     bethgelab/foolbox (3.3.4), whose DDNAttack gives the same images
Differs:  as in foolbox, pixels are not rounded to 256 levels (the authors' code can), the radius
          stays within the range of the pixels, and the images after the last step are not tried;
          where there is no gradient, the direction is drawn once (foolbox: in every step); a step
          that leads back to the image itself ends there (foolbox: NaN)
Cost:     `steps` forwards, each with a backward to the images
"""

from dataclasses import dataclass
from math import cos, pi

import torch
from torch import nn

from vicinal.attacks.attack import at_images, margins
from vicinal.attacks.smallest import Smallest, check_threat
from vicinal.attacks.threat import Threat
from vicinal.contracts import Images, Targets
from vicinal.draws import Draws
from vicinal.surgery.modes import searched


@dataclass(frozen=True)
class Ddn:
    """δ <- ρ δ' / ||δ'|| with δ' = δ + α ∇ / ||∇||; ρ <- (1 - γ) ρ if x + δ is adversarial, else
    (1 + γ) ρ.

    α falls from 1 to 0.01 along a cosine; ρ starts at `init_epsilon`; both are in units of ε. The
    nearest adversarial image is kept, and projected if it is further away than ε.
    """

    threat: Threat
    steps: int = 100
    gamma: float = 0.05
    init_epsilon: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not 0 < self.gamma < 1:
            raise ValueError(f"gamma must be above 0 and below 1, got {self.gamma}")
        if not self.init_epsilon > 0:
            raise ValueError(f"init_epsilon must be above 0, got {self.init_epsilon}")
        check_threat(self.threat)

    @property
    def passes(self) -> int:
        """Forward passes per image; a backward pass takes as long as two."""
        return 3 * self.steps

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Draws) -> Images:
        region = self.threat.around(model, x)
        moved, best = region.x, Smallest.none(region.x)
        drawn = region.steepest(rng.normal_like(region.x))
        furthest = torch.maximum(region.x - region.low, region.high - region.x)
        most = region.distance(region.x + furthest)
        radius = torch.full_like(most, self.init_epsilon)
        with searched(model):
            for i in range(self.steps):
                alpha = 0.01 + 0.99 * (1 + cos(pi * i / self.steps)) / 2
                logits, gradient = at_images(model, moved, y)
                adversarial = margins(logits, y) < 0
                best = best.or_nearer(region, moved, adversarial)
                flat = gradient.abs().amax(dim=(1, 2, 3), keepdim=True) == 0
                moved = moved + alpha * torch.where(flat, drawn, region.steepest(gradient))
                shrunk, grown = (1 - self.gamma) * radius, (1 + self.gamma) * radius
                radius = torch.minimum(torch.where(adversarial, shrunk, grown), most)
                length = region.distance(moved)
                scale = torch.where(length > 0, radius / length, 0.0).view(-1, 1, 1, 1)
                moved = region.clipped(region.x + scale * (moved - region.x))
        return best.within(region)
