"""Mixed labels made one-hot again: x' = x, y' = the class of the largest weight in y.

Paper:    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; Table 5, "mix inputs only": §3.8,
          "select the one-hot encoding of the closer training sample as the target"
Code:     none released
Differs:  nothing known; after mixup of one-hot labels the largest weight is max(λ, 1 - λ)
Cost:     nothing beyond its method
"""

from dataclasses import dataclass

from torch.nn import functional as F

from vicinal.contracts import Inputs, Targets, Vicinity
from vicinal.draws import Rng


@dataclass(frozen=True)
class LargerLabel(Vicinity):
    """Use it in a composition, after the vicinity that mixes."""

    def __call__(self, x: Inputs, y: Targets, rng: Rng) -> tuple[Inputs, Targets]:
        return x, F.one_hot(y.argmax(dim=1), y.shape[1]).to(y.dtype)
