"""A rectangle pasted from a partner: x' = x_i outside the box, x_j inside; y' by the areas.

Paper:    Yun et al., CutMix, ICCV 2019, arXiv 1905.04899; Eq. 1-2; as MaxUp §4.1 uses it
Code:     clovaai/CutMix-PyTorch train.py: λ ~ Beta(α, α), box sides √(1 - λ), centre uniform,
          box clipped at the border and λ recomputed from the area that is left. Compared for given
          draws with PatchUp's (chandar-lab/PatchUp, commit 31133f3): everything within 1e-15.
Differs:  nothing known
Cost:     nothing beyond its method
"""

from dataclasses import dataclass

from vicinal.contracts import Maps, Targets, Vicinity
from vicinal.draws import Rng, beta, box, coins, permutation


@dataclass(frozen=True)
class CutMix(Vicinity):
    """One box, λ and permutation per batch, applied with probability `prob`."""

    alpha: float = 1.0
    prob: float = 1.0

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise ValueError(f"alpha must be above 0, got {self.alpha} (λ is Beta(alpha, alpha))")
        if not 0 <= self.prob <= 1:
            raise ValueError(f"prob must be between 0 and 1, got {self.prob}")

    def __call__(self, x: Maps, y: Targets, rng: Rng) -> tuple[Maps, Targets]:
        if not coins(self.prob, 1, rng).item():
            return x, y
        height, width = x.shape[-2:]
        rows, columns = box(height, width, beta(self.alpha, 1, rng).item(), rng)
        partner = permutation(len(x), rng, x.device)
        mixed = x.clone()
        mixed[:, :, rows, columns] = x[:, :, rows, columns].index_select(0, partner)
        # The label follows the pixels that clipping and truncation leave of the box, not λ.
        lam = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        return mixed, lam * y + (1 - lam) * y[partner]
