"""AugMix with a PGD image: CE(f(x), y) + λ JS(f(x), f(x~), f(x*)); x~ is AugMix's.

x* is within ε of each pixel of x, found by projected ascent on the cross-entropy.

Paper:    Wang et al., AugMax, NeurIPS 2021, arXiv 2110.13771; §4.3, Table 10 (AugMix+PGDAT);
          Madry et al., ICLR 2018, arXiv 1706.06083 (PGD)
Code:     none released
Differs:  the paper says that both kinds of image augment, but not with which loss: our reading puts
          the PGD image where AugMax has its own, with the loss and the routes of AugMax's code.
          ε = 8/255 in 7 steps of 2/255 from a uniform start, in eval mode on route A, is also our
          reading. Table 10 does not name the norm; dubin is our choice.
Cost:     steps + 3 forwards (steps to attack), 1 backward, 2 updates of BatchNorm (route M; A has
          1, one route 3); each forward of the attack has a backward to the image
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from vicinal.attacks.pgd import Pgd
from vicinal.contracts import Images, Loss, Targets, Vicinity
from vicinal.draws import Rng
from vicinal.methods.consistency import WithNorm, consistency_loss, view_of
from vicinal.surgery.dubin import Norm, routed


@dataclass(frozen=True)
class AugMixPgdat(WithNorm):
    """`epsilon` and `step` in pixel space, where images are in [0, 1]."""

    vicinity: Vicinity
    view: Vicinity
    epsilon: float = 8 / 255
    step: float = 2 / 255
    steps: int = 7
    lam: float = 10.0
    norm: Norm = "dubin"
    places: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _ = self.attack  # checks its own settings
        if self.lam < 0:
            raise ValueError(f"lam must be at least 0, got {self.lam} (it weighs a divergence)")

    @property
    def attack(self) -> Pgd:
        """From a uniform start."""
        return Pgd.of_pixels(self.epsilon, self.step, self.steps)

    @property
    def work(self) -> float:
        search = 2 * self.steps  # backwards to the images alone
        return (search + 9) / 3  # three views are trained on

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        with routed(model, "A"):
            hard = self.attack(model, x, y, rng)
        view = view_of(self.view, x, y, rng)
        yield consistency_loss(model, x, y, view=view, hard=hard, lam=self.lam)
