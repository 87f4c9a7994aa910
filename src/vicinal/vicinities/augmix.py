"""Chains of image operations mixed with the image: x' = (1 - m) x + m Σ_i w_i a_i(x); y' = y.

Paper:    Hendrycks et al., AugMix, ICLR 2020, arXiv 1912.02781; Alg. 1; as AugMax §3.1 uses it
Code:     google-research/augmix (commit 9b9824c) augmentations.py (operators), cifar.py (chains,
          weights); VITA-Group/AugMax augmax_modules/augmax.py has the same. Compared for given
          draws: operators equal in every byte, views within 3e-7 (float32).
Differs:  drawn and rendered for the whole batch as tensor operations, each operator equal to
          Pillow's bit for bit; a chain's input is rounded to 8 bits, as Pillow holds it, which
          changes nothing for 8-bit images. The code has one image size for both axes of a
          translation; here each axis has its own. Severity is 3 on every data set, as in AugMax's
          code; AugMix's has 1 on ImageNet.
Cost:     nothing beyond its method
"""

from dataclasses import dataclass

from vicinal.contracts import Images, Targets, Vicinity
from vicinal.draws import Rng, beta, dirichlet
from vicinal.images.chains import Chains, Plan, mixture, rendered


@dataclass(frozen=True)
class AugMix(Vicinity):
    """`width` chains of `depth` operators (1, 2 or 3 at random if null), w and m uniform."""

    severity: float = 3.0
    width: int = 3
    depth: int | None = None

    def __post_init__(self) -> None:
        if not 0.1 <= self.severity <= 10:
            raise ValueError(
                f"severity must be between 0.1 and 10, got {self.severity} "
                "(levels are drawn from U(0.1, severity), on AutoAugment's scale to 10)"
            )
        if self.width < 1:
            raise ValueError(f"width must be at least 1, got {self.width} (chains per image)")
        if self.depth is not None and self.depth < 1:
            raise ValueError(
                f"depth must be at least 1, got {self.depth} (null draws 1, 2 or 3 per chain)"
            )

    def __call__(self, x: Images, y: Targets, rng: Rng) -> tuple[Images, Targets]:
        chains = self.chains(x, rng)
        return self.mixed(x, chains, rng), y

    def plan(self, count: int, rng: Rng) -> Plan:
        """The operators and levels of `count` images."""
        return Plan.drawn(count, self.width, self.depth, self.severity, rng)

    def chains(self, x: Images, rng: Rng) -> Chains:
        """The a_i of each image: the results of its chains."""
        return rendered(x, self.plan(len(x), rng))

    def mixed(self, x: Images, chains: Chains, rng: Rng) -> Images:
        """Mixed with random weights: m ~ Beta(1, 1), w ~ Dirichlet(1, .., 1)."""
        w = dirichlet(len(x), self.width, rng).to(x, non_blocking=True)
        m = beta(1.0, len(x), rng).to(x, non_blocking=True)
        return mixture(x, chains, m, w)
