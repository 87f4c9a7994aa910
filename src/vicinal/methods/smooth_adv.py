"""SmoothAdv: the mean of CE(f(x' + δ_j), y) over m draws of noise δ, where x' fools their mean.

x' is what a PGD in L2 finds within ε of x for J(x') = -log (1/m) Σ_j softmax(f(x' + δ_j))_y, with
the draws of noise that are then trained on.

Paper:    Salman, Li, Razenshteyn, Zhang, Zhang, Bubeck, Yang, Provably Robust Deep Learning via
          Adversarially Trained Smoothed Classifiers, NeurIPS 2019, arXiv 1906.04584; Eq. 5 (J),
          §2.2 (PGD by m draws), Pseudocode 1; a row of Gong et al., arXiv 2002.09024; Table 8
Code:     Hadisalman/smoothing-adversarial (commit cff781d) train_pgd.py with --train-multi-noise,
          attacks.py PGD_L2: from x itself, steps of 2ε/T, the network in eval mode. Not compared.
Differs:  the radius grows with every step, theirs with every epoch, from ε/10 on. A shift is first
          cut to the ball and then to [0, 1]; theirs first to [0, 1]. Both stay in both. Where a
          gradient is 0 an image stays, theirs takes a random step. No probability is cut at 1e-20.
          Any vicinity may draw the noise: δ_j is what its j-th draw adds. A batch of theirs is m
          steps of 1/m of its images each, so a run of theirs has schedule.batch_size 256/m
Cost:     steps + 1 forwards, 1 backward, 1 update of BatchNorm, each of m times as many images; a
          step of the attack also goes backwards to the images
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vicinal.attacks.pgd import Pgd
from vicinal.attacks.threat import Threat
from vicinal.contracts import Images, Logits, Loss, Method, Targets, Vicinity, Wants
from vicinal.draws import Rng
from vicinal.losses import cross_entropy

Noisy = Float[Tensor, "mn c h w"]  # m copies of each image, those of the first draw first


@dataclass(frozen=True)
class SmoothAdv(Method):
    """`vicinity` draws the noise; `epsilon` is in pixel values from 0 to 1, `copies` the paper's m.

    The radius grows linearly from 0 to `epsilon` over the first `warmup` of the training, a share.
    """

    wants: ClassVar[Wants] = ("progress",)

    vicinity: Vicinity
    epsilon: float = 0.25
    steps: int = 2
    copies: int = 8
    warmup: float = 1 / 15  # 10 of 150 epochs

    def __post_init__(self) -> None:
        for name in ("steps", "copies"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup must be a share from 0 to 1, got {self.warmup}")
        _ = self.attack(1.0)  # checks its own settings

    @property
    def work(self) -> float:
        return self.copies * (2 * self.steps + 3) / 3  # an attack goes backwards to its images

    def attack(self, progress: float) -> Pgd:
        """PGD at the radius of this point of the training."""
        share = min(1.0, progress / self.warmup) if self.warmup else 1.0
        threat = Threat(self.epsilon * share, "l2")
        return Pgd(threat, 2 / self.steps, self.steps, random_start=False)

    def __call__(
        self, model: nn.Module, x: Images, y: Targets, rng: Rng, *, progress: float = 1.0
    ) -> Iterator[Loss]:
        images, targets = torch.cat([x] * self.copies), torch.cat([y] * self.copies)
        drawn, targets = self.vicinity(images, targets, rng)
        smoothed = Smoothed(model, drawn - images, self.copies)
        mean = targets.unflatten(0, (self.copies, -1)).mean(0)
        found = self.attack(progress)(smoothed, x, mean, rng)
        yield cross_entropy(model(smoothed.noisy(found)), targets).mean()


class Smoothed(nn.Module):
    """The mean of a network's probabilities over draws of noise, as logits."""

    def __init__(self, network: nn.Module, noise: Noisy, copies: int) -> None:
        super().__init__()
        self.network, self.noise, self.copies = network, noise, copies

    def noisy(self, x: Images) -> Noisy:
        """The copies of each image."""
        return torch.cat([x] * self.copies) + self.noise

    def forward(self, x: Images) -> Logits:
        """log (1/m) Σ_j softmax(f(x + δ_j))."""
        log_p = self.network(self.noisy(x)).log_softmax(1).unflatten(0, (self.copies, -1))
        return log_p.logsumexp(0) - log(self.copies)
