"""One vicinity after another: (x', y') drawn by `then` from what `first` drew.

Paper:    mixup followed by label smoothing is Zhang et al., mixup, ICLR 2018, arXiv 1710.09412;
          Table 5, "mix input + label smoothing"
Code:     none needed
Differs:  nothing known
Cost:     nothing beyond its method
"""

from dataclasses import dataclass

from vicinal.contracts import Inputs, Targets, Vicinity
from vicinal.draws import Rng


@dataclass(frozen=True)
class Compose(Vicinity):
    """Nest it to compose more than two."""

    first: Vicinity
    then: Vicinity

    def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
        x, y = self.first(x, y, rng)
        return self.then(x, y, rng)
