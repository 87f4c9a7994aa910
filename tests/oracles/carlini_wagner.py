"""Carlini & Wagner's L2 attack, literally, for one image, with torch's Adam."""

from math import inf

import torch
from torch import Tensor, nn


def carlini_wagner(
    model: nn.Module,
    x: Tensor,
    true: int,
    *,
    searches: int,
    steps: int,
    stepsize: float,
    confidence: float,
    initial_const: float,
) -> Tensor:
    """The adversarial image; the image itself if none was met."""
    best, shortest = x, inf
    c, too_small, enough = initial_const, 0.0, inf
    w_0 = torch.atanh((2 * x - 1) * 0.999999)
    x_0 = (torch.tanh(w_0) + 1) / 2
    for search in range(searches):
        if searches >= 10 and search == searches - 1:
            c = min(enough, 1e10)
        w = w_0.clone().requires_grad_()
        adam = torch.optim.Adam([w], lr=stepsize)
        met = False
        for _ in range(steps):
            moved = (torch.tanh(w) + 1) / 2
            z = model(moved[None])[0]
            rival = max((z[k] for k in range(len(z)) if k != true), key=Tensor.item)
            f = torch.clamp(z[true] - rival + confidence, min=0)
            (w.grad,) = torch.autograd.grad(((moved - x_0) ** 2).sum() + c * f, w)
            adam.step()
            if z[true] + confidence < rival:
                met = True
                distance = float((moved - x).detach().norm())
                if distance < shortest:
                    best, shortest = moved.detach(), distance
        if met:
            enough = c
        else:
            too_small = c
        c = 10 * c if enough == inf else (too_small + enough) / 2
    return best
