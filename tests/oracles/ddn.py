"""Rony et al., Algorithm 1, literally, for one image."""

from math import cos, pi, sqrt

import torch
from torch import Tensor, nn


def ddn(
    model: nn.Module, x: Tensor, true: int, *, steps: int, gamma: float, init_epsilon: float
) -> Tensor:
    """The adversarial image; the image itself if none was met."""
    origin = x.flatten().tolist()
    most = sqrt(sum(max(p, 1 - p) ** 2 for p in origin))
    delta, radius = [0.0] * len(origin), init_epsilon
    best, shortest = x, float("inf")
    for k in range(steps):
        at = torch.tensor([p + d for p, d in zip(origin, delta, strict=True)], dtype=x.dtype)
        at = at.view_as(x).requires_grad_()
        z = model(at[None])[0]
        (gradient,) = torch.autograd.grad(z.exp().sum().log() - z[true], at)
        g = gradient.flatten().tolist()
        length = sqrt(sum(v * v for v in g))
        size = sqrt(sum(d * d for d in delta))
        adversarial = z.argmax().item() != true
        if adversarial and size < shortest:
            best, shortest = at.detach(), size
        alpha = 0.01 + (1 - 0.01) * (1 + cos(pi * k / steps)) / 2
        delta = [d + alpha * v / length for d, v in zip(delta, g, strict=True)]
        radius = min(radius * (1 - gamma if adversarial else 1 + gamma), most)
        size = sqrt(sum(d * d for d in delta))
        delta = [
            min(max(p + radius * d / size, 0.0), 1.0) - p
            for p, d in zip(origin, delta, strict=True)
        ]
    return best
