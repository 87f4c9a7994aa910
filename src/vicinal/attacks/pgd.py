"""Projected gradient ascent on the loss; one step of ε is FGSM, several equal ones are I-FGSM.

Paper:    Madry et al., ICLR 2018, arXiv 1706.06083, §2.1; Goodfellow et al., ICLR 2015,
          arXiv 1412.6572, §4 (FGSM); Kurakin et al., 2017, arXiv 1607.02533, §2.2 (I-FGSM, or BIM)
Code:     bethgelab/foolbox (3.3.4), whose PGD, BIM and FGSM give the same images
Differs:  nothing known
Cost:     `steps` forwards, each with a backward to the images
"""

from dataclasses import dataclass

from torch import nn

from vicinal.attacks.attack import at_images
from vicinal.attacks.threat import Threat
from vicinal.contracts import Images, Targets
from vicinal.draws import Draws
from vicinal.surgery.modes import searched


@dataclass(frozen=True)
class Pgd:
    """x' <- Π(x' + step · ε · d), `steps` times, along d = sign ∇ CE(f(x'), y).

    `step` is a share of ε, so that the attack scales with its threat. For L2, d is the gradient
    over its norm.
    """

    threat: Threat
    step: float = 0.25
    steps: int = 10
    random_start: bool = True

    def __post_init__(self) -> None:
        for key in ("step", "steps"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be at least 0, got {getattr(self, key)}")
        self.threat.check_bounded("steps are shares of it")

    @classmethod
    def of_pixels(cls, epsilon: float, step: float, steps: int) -> "Pgd":
        """The attack with a step in pixel values, as training methods state it."""
        if step < 0:
            raise ValueError(f"step must be at least 0, got {step}")
        return cls(Threat(epsilon), step / epsilon if epsilon else 0.0, steps)

    @property
    def passes(self) -> int:
        """Forward passes per image; a backward pass takes as long as two."""
        return 3 * self.steps

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Draws) -> Images:
        region = self.threat.around(model, x)
        adversarial = region.start(rng) if self.random_start else x.detach()
        with searched(model):
            for _ in range(self.steps):
                _, gradient = at_images(model, adversarial, y)
                shift = self.step * region.epsilon * region.steepest(gradient)
                adversarial = region.project(adversarial + shift)
        return adversarial
