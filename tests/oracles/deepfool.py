"""Moosavi-Dezfooli et al., Algorithm 2, literally: one image, one class and one pixel at a time."""

from math import sqrt

import torch
from torch import Tensor, nn


def logits_of(model: nn.Module, x: Tensor) -> list[float]:
    with torch.no_grad():
        return model(x[None])[0].tolist()


def slope(model: nn.Module, x: Tensor, k: int, true: int) -> list[float]:
    """w'_k = ∇ f_k - ∇ f_true."""
    x = x.clone().requires_grad_()
    z = model(x[None])[0]
    return torch.autograd.grad(z[k] - z[true], x)[0].flatten().tolist()


def deepfool(
    model: nn.Module,
    x: Tensor,
    true: int,
    *,
    norm: str,
    steps: int,
    candidates: int,
    overshoot: float,
) -> Tensor:
    """The adversarial image; the image itself if none was met."""
    first = logits_of(model, x)
    order = sorted(range(len(first)), key=lambda k: -first[k])
    rivals = [k for k in order if k != true][: candidates - 1]
    moved, total = x.clone(), [0.0] * x.numel()
    for _ in range(steps):
        z = logits_of(model, moved)
        if any(z[k] > z[true] for k in range(len(z)) if k != true):
            break
        best: tuple[float, list[float]] | None = None
        for k in rivals:
            w = slope(model, moved, k, true)
            q = sqrt(sum(v * v for v in w)) if norm == "l2" else sum(abs(v) for v in w)
            if q > 0 and (best is None or abs(z[k] - z[true]) / q < best[0]):
                way = [v / q if norm == "l2" else (v > 0) - (v < 0) for v in w]
                best = abs(z[k] - z[true]) / q, way
        if best is not None:
            total = [t + (best[0] + 1e-4) * v for t, v in zip(total, best[1], strict=True)]
        pixels = [
            min(max(p + (1 + overshoot) * t, 0.0), 1.0)
            for p, t in zip(x.flatten().tolist(), total, strict=True)
        ]
        moved = torch.tensor(pixels, dtype=x.dtype).view_as(x)
    z = logits_of(model, moved)
    return moved if any(z[k] > z[true] for k in range(len(z)) if k != true) else x
