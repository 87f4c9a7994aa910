"""The empirical distribution: (x', y') = (x, y).

Paper:    the Dirac vicinity of Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; §2
Code:     none needed
Differs:  nothing known
Cost:     nothing
"""

from dataclasses import dataclass

from vicinal.contracts import Inputs, Targets, Vicinity
from vicinal.draws import Rng


@dataclass(frozen=True)
class Identity(Vicinity):
    """ERM's vicinity: the sample itself."""

    def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
        return x, y
