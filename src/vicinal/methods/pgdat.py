"""Adversarial training: the mean of CE(f(x'), y) at the x' that PGD finds within ε of x.

Paper:    Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018,
          arXiv 1706.06083; Eq. 2.1 (the saddle point), §2.1 (PGD); a baseline of Wang et al.,
          AugMax, NeurIPS 2021, arXiv 2110.13771; Table 10
Code:     MadryLab/cifar10_challenge (main) train.py. Not compared.
Differs:  AugMax states no settings; 7 steps of 2/255 are the paper's §4, 10 the released config's.
          The code attacks in train mode, we in eval mode: we attack the network that is evaluated,
          and no step of the attack changes its statistics. The start is clamped to [0, 1], as the
          steps are.
Cost:     steps + 1 forwards, 1 backward, 1 update of BatchNorm; each step of the attack also goes
          backwards to the images
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from vicinal.attacks.pgd import Pgd
from vicinal.contracts import Images, Loss, Method, Targets, Vicinity
from vicinal.draws import Rng
from vicinal.losses import cross_entropy


@dataclass(frozen=True)
class Pgdat(Method):
    """`epsilon` and `step` are in pixel values from 0 to 1."""

    vicinity: Vicinity
    epsilon: float = 8 / 255
    step: float = 2 / 255
    steps: int = 7

    def __post_init__(self) -> None:
        _ = self.attack  # checks its own settings
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps} (0 is training by erm)")

    @property
    def attack(self) -> Pgd:
        """From a uniform start."""
        return Pgd.of_pixels(self.epsilon, self.step, self.steps)

    @property
    def work(self) -> float:
        return (2 * self.steps + 3) / 3  # an attack goes backwards to its images

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        x = self.attack(model, x, y, rng)
        yield cross_entropy(model(x), y).mean()
