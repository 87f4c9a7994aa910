"""Auto-PGD, literally: one image at a time, with the whole history of its losses (Alg. 1).

Where the authors' code departs from the paper (checkpoints, the first step, exactly ρ of rises), it
is the code's reading.
"""

import torch
from torch import Tensor, nn


def loss_and_gradient(model: nn.Module, x: Tensor, label: int) -> tuple[float, Tensor, bool]:
    x = x.clone().requires_grad_()
    logits = model(x[None])[0]
    loss = logits.exp().sum().log() - logits[label]
    (gradient,) = torch.autograd.grad(loss, x)
    return loss.item(), gradient, int(logits.argmax()) != label


def onto(moved: Tensor, x: Tensor, epsilon: float, norm: str) -> Tensor:
    """The nearest image of the ball, then of the cube."""
    if norm == "linf":
        moved = torch.minimum(torch.maximum(moved, x - epsilon), x + epsilon)
    else:
        length = ((moved - x) ** 2).sum().sqrt()
        if length > epsilon:
            moved = x + (moved - x) * epsilon / length
    return moved.clamp(0, 1)


def start(draw: Tensor, x: Tensor, epsilon: float, norm: str) -> Tensor:
    """A draw from (-1, 1) or of a normal variable, scaled to length ε, in the cube."""
    length = draw.abs().max() if norm == "linf" else (draw**2).sum().sqrt()
    return (x + epsilon * draw / length).clamp(0, 1)


def apgd(
    model: nn.Module,
    x: Tensor,
    label: int,
    first: Tensor,
    *,
    epsilon: float,
    norm: str,
    steps: int,
    rho: float,
) -> Tensor:
    """The last misclassified image among all that one run visits; the image itself if none is."""
    periods = [max(int(0.22 * steps), 1)]
    while sum(periods) <= steps:
        shorter = periods[-1] - max(int(0.03 * steps), 1)
        periods.append(max(shorter, int(0.06 * steps), 1))
    checkpoints = [sum(periods[: j + 1]) for j in range(len(periods))]

    loss, gradient, missed = loss_and_gradient(model, first, label)
    found = first if missed else x
    visited, losses = [(first, loss, gradient)], [0.0]
    at, before, slope = first, first, gradient
    eta, etas, maxima = 2 * epsilon, [2 * epsilon], [loss]
    for k in range(1, steps + 1):
        if norm == "linf":
            z = onto(at + eta * torch.sign(slope), x, epsilon, norm)
        else:
            z = onto(at + eta * slope / (slope**2).sum().sqrt(), x, epsilon, norm)
        alpha = 1.0 if k == 1 else 0.75
        new = onto(at + alpha * (z - at) + (1 - alpha) * (at - before), x, epsilon, norm)
        before, at = at, new
        loss, slope, missed = loss_and_gradient(model, at, label)
        found = at if missed else found
        visited.append((at, loss, slope))
        losses.append(loss)
        if k in checkpoints:
            period = periods[checkpoints.index(k)]
            rises = sum(losses[i] > losses[i - 1] for i in range(k - period + 1, k + 1))
            top = max(visited, key=lambda each: each[1])
            same_eta = len(etas) > 1 and etas[-1] == etas[-2]
            etas.append(eta)
            if rises <= rho * period or (same_eta and maxima[-1] == top[1]):
                eta, at, slope = eta / 2, top[0], top[2]
                etas[-1] = eta
            maxima.append(top[1])
    return found
