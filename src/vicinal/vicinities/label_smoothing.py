"""Labels moved towards uniform: x' = x, y' = (1 - ε) y + ε / k.

Paper:    Szegedy et al., 2016, arXiv 1512.00567; §7; as mixup Table 5 uses it
Code:     none released for mixup's ablation
Differs:  nothing known. mixup writes "1 - 9ε/10 and ε/10", which is this at k = 10.
Cost:     nothing beyond its method
"""

from dataclasses import dataclass

from vicinal.contracts import Inputs, Targets, Vicinity
from vicinal.draws import Rng


@dataclass(frozen=True)
class LabelSmoothing(Vicinity):
    """ε is the share of the label that is spread over all classes."""

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"epsilon must be between 0 and 1, got {self.epsilon}")

    def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
        return x, (1 - self.epsilon) * y + self.epsilon / y.shape[1]
