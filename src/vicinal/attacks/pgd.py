"""Perturbations that raise a network's loss, within ε of each pixel and within [0, 1].

The network is attacked in eval mode: BatchNorm normalises by its running statistics and records
none. Only the images are differentiated, so every parameter's `.grad` stays as it was.
"""

import torch
from torch import nn

from vicinal.contracts import Images, Inputs, Logits, Targets
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.surgery.modes import searched


def pgd(
    model: nn.Module,
    x: Images,
    y: Targets,
    *,
    epsilon: float,
    step: float,
    steps: int,
    rng: Rng,
    random_start: bool = True,
) -> Images:
    """Projected ascent on CE: x' <- Π(x' + step · sign ∇ CE(f(x'), y)), `steps` times.

    Madry et al., ICLR 2018, arXiv 1706.06083, §2.1. As many forwards as steps.
    """
    adversarial = uniform_start(x, epsilon, rng) if random_start else x.detach()
    with searched(model):
        for _ in range(steps):
            _, gradient = at_images(model, adversarial, y)
            adversarial = projected(adversarial + step * gradient.sign(), x, epsilon)
    return adversarial


def check_images(x: Inputs) -> None:
    """Refuse what has no pixels."""
    if x.ndim != 4:
        raise ValueError(
            f"inputs must be images (n, c, h, w), got {tuple(x.shape)} "
            "(the attack's bounds are those of pixels)"
        )


def uniform_start(x: Images, epsilon: float, rng: Rng) -> Images:
    """A uniform draw from the ε-ball around each image."""
    shift = torch.empty_like(x).uniform_(-epsilon, epsilon, generator=rng.device)
    return projected(x + shift, x, epsilon)


def projected(moved: Images, x: Images, epsilon: float) -> Images:
    """The nearest images within ε of `x` and within [0, 1]."""
    return torch.clamp(moved, x - epsilon, x + epsilon).clamp(0, 1)


def at_images(model: nn.Module, x: Images, y: Targets) -> tuple[Logits, Images]:
    """The logits, and the gradient of each sample's cross-entropy at its image.

    Where the network is `searched`, a compiled one computes no other gradient.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = model(x)
        # The sum, so that a sample's gradient does not depend on how many others there are.
        (gradient,) = torch.autograd.grad(cross_entropy(logits, y).sum(), x)
    return logits.detach(), gradient
