"""Perturbations that raise a network's loss, within ε of each pixel and within [0, 1].

The network is attacked in eval mode: BatchNorm normalises by its running statistics and does not
update them. Only the images are differentiated, so every parameter's `.grad` stays as it was.
"""

from dataclasses import dataclass

import torch
from torch import nn

from vicinal.contracts import Images, Inputs, Logits, Targets
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.surgery.modes import searched


@dataclass(frozen=True)
class Pgd:
    """Projected ascent on CE: x' <- Π(x' + step · sign ∇ CE(f(x'), y)), `steps` times.

    Madry et al., ICLR 2018, arXiv 1706.06083, §2.1. As many forwards as steps.
    """

    epsilon: float
    step: float
    steps: int
    random_start: bool = True

    def __post_init__(self) -> None:
        for key in ("epsilon", "step", "steps"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be at least 0, got {getattr(self, key)}")

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Rng) -> Images:
        adversarial = uniform_start(x, self.epsilon, rng) if self.random_start else x.detach()
        with searched(model):
            for _ in range(self.steps):
                _, gradient = at_images(model, adversarial, y)
                moved = adversarial + self.step * gradient.sign()
                adversarial = projected(moved, x, self.epsilon)
        return adversarial


def check_images(x: Inputs) -> None:
    """Refuse inputs that are not images."""
    if x.ndim != 4:
        raise ValueError(
            f"inputs must be images (n, c, h, w), got {tuple(x.shape)} "
            "(the attack is bounded per pixel)"
        )


def uniform_start(x: Images, epsilon: float, rng: Rng) -> Images:
    """A uniform draw from the ε-ball around each image."""
    shift = torch.empty_like(x).uniform_(-epsilon, epsilon, generator=rng.device)
    return projected(x + shift, x, epsilon)


def projected(moved: Images, x: Images, epsilon: float) -> Images:
    """The nearest images within ε of `x` and within [0, 1]."""
    return torch.clamp(moved, x - epsilon, x + epsilon).clamp(0, 1)


def at_images(model: nn.Module, x: Images, y: Targets) -> tuple[Logits, Images]:
    """The logits, and the gradient of each sample's cross-entropy with respect to its image.

    Inside `searched` a compiled network computes no other gradient.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = model(x)
        # Summed, so that a sample's gradient does not depend on the size of the batch.
        (gradient,) = torch.autograd.grad(cross_entropy(logits, y).sum(), x)
    return logits.detach(), gradient
