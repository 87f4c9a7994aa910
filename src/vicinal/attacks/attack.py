"""The contract of attacks on a trained network, and what several of them share."""

from math import inf
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from vicinal.attacks.threat import Threat
from vicinal.contracts import Images, Inputs, Logits, PerSample, Targets
from vicinal.draws import Draws
from vicinal.losses import cross_entropy


@runtime_checkable
class Attack(Protocol):
    """Returns images, within the threat, that the network is to take for another class.

    It attacks the network in eval mode and leaves its modes, statistics and gradients as they were;
    it draws from `rng` alone, treats each sample as if it were the only one, and never waits for
    the device.
    """

    @property
    def threat(self) -> Threat: ...

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Draws) -> Images: ...


@runtime_checkable
class Counted(Protocol):
    """What knows how many forward passes of an image it takes; a backward pass counts as two."""

    @property
    def passes(self) -> int: ...


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


def margins(logits: Logits, y: Targets) -> PerSample:
    """The true class's logit minus the largest other one: negative where the network is wrong."""
    true = y.argmax(dim=1, keepdim=True)
    # Of equal logits `max` differentiates one, `amax` all.
    largest = logits.scatter(1, true, -inf).max(dim=1).values
    return logits.gather(1, true).squeeze(1) - largest


def check_images(x: Inputs) -> None:
    """Refuse inputs that are not images."""
    if x.ndim != 4:
        raise ValueError(
            f"inputs must be images (n, c, h, w), got {tuple(x.shape)} "
            "(the attack is bounded per pixel)"
        )
