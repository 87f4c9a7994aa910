"""Square Attack, literally: one image, one query and one pixel at a time (Alg. 1 and 2, Linf)."""

from math import sqrt

import torch
from torch import Tensor, nn


def margin(model: nn.Module, x: Tensor, label: int) -> float:
    logits = model(x[None])[0].tolist()
    return logits[label] - max(logits[:label] + logits[label + 1 :])


def share(query: int, queries: int, p_init: float) -> float:
    """The paper's schedule of p for 10,000 queries, stretched to another number."""
    at, p = int(query / queries * 10_000), p_init
    for halving in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000):
        if at > halving:
            p /= 2
    return p


def changed(value: float, shift: float, origin: float, epsilon: float) -> float:
    value = min(max(value + shift, origin - epsilon), origin + epsilon)
    return min(max(value, 0.0), 1.0)


def square(
    model: nn.Module,
    x: Tensor,
    label: int,
    stripes: Tensor,
    draws: Tensor,
    *,
    epsilon: float,
    p_init: float,
) -> Tensor:
    """`stripes` (c, 1, w) and `draws` (queries, 2 + c) are from [0, 1): place and signs."""
    channels, height, width = x.shape
    best = torch.empty_like(x)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                sign = -1 if stripes[c, 0, j] < 0.5 else 1
                best[c, i, j] = changed(x[c, i, j].item(), sign * epsilon, x[c, i, j], epsilon)
    least = margin(model, best, label)
    for query in range(len(draws)):
        if least < 0:
            break
        side = max(round(sqrt(share(query, len(draws), p_init) * height * width)), 1)
        side = min(side, height, width)
        top = int(draws[query, 0].item() * (height - side + 1))
        left = int(draws[query, 1].item() * (width - side + 1))
        tried = best.clone()
        for c in range(channels):
            shift = (-2 if draws[query, 2 + c] < 0.5 else 2) * epsilon
            for i in range(top, top + side):
                for j in range(left, left + side):
                    tried[c, i, j] = changed(best[c, i, j].item(), shift, x[c, i, j], epsilon)
        found = margin(model, tried, label)
        if found < least:
            best, least = tried, found
    return best
