"""Attacks, literally: one sample and one pixel at a time, from the papers' algorithms."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def input_gradient(model: nn.Module, x: Tensor, label: int) -> tuple[Tensor, int]:
    """d CE(f(x), label) / dx of one image, and the class the network takes it for."""
    x = x.clone().requires_grad_()
    logits = model(x[None])[0]
    loss = logits.exp().sum().log() - logits[label]
    return torch.autograd.grad(loss, x)[0], int(logits.argmax())


def moved(x: Tensor, start: Tensor, gradient: Tensor, step: float, epsilon: float) -> Tensor:
    """clip_[0,1](clip_[x-ε,x+ε](x' + step · sign(g))), pixel by pixel."""
    out = torch.empty_like(x)
    for p in range(x.numel()):
        origin = x.reshape(-1)[p].item()
        slope = gradient.reshape(-1)[p].item()
        value = start.reshape(-1)[p].item() + step * ((slope > 0) - (slope < 0))
        value = min(max(value, origin - epsilon), origin + epsilon)
        out.view(-1)[p] = min(max(value, 0.0), 1.0)
    return out


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    starts: Tensor,
    *,
    epsilon: float,
    step: float,
    steps: int,
) -> Tensor:
    """Madry et al. §2.1 from given starting points."""
    results = []
    for i in range(len(x)):
        at = starts[i]
        for _ in range(steps):
            gradient, _ = input_gradient(model, at, int(y[i].argmax()))
            at = moved(x[i], at, gradient, step, epsilon)
        results.append(at)
    return torch.stack(results)


def friendly(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    starts: Tensor,
    noise: Callable[[int, int], Tensor],
    *,
    epsilon: float,
    step: float,
    steps: int,
    tau: int,
) -> Tensor:
    """Zhang et al. Alg. 1 (PGD-K-τ); noise(k, i) is what step k adds to image i."""
    results = []
    for i in range(len(x)):
        at, allowed, label = starts[i], tau, int(y[i].argmax())
        for k in range(steps):
            gradient, predicted = input_gradient(model, at, label)
            if predicted != label and allowed == 0:
                break
            if predicted != label:
                allowed -= 1
            at = moved(x[i], at + noise(k, i), gradient, step, epsilon)
        results.append(at)
    return torch.stack(results)


def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y, reduction="none")
