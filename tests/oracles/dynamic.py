"""Dynamic evaluation, one weight and one segment at a time (Krause et al. 2018, section 5)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def segment_loss(model: nn.Module, columns: list[list[int]], i: int, t: int, state: Any) -> Any:
    """The mean loss over words i + 1 .. i + t of all columns, and the state after them."""
    read = model(torch.tensor([column[i : i + t] for column in columns]), state)
    losses = []
    for c, column in enumerate(columns):
        for k in range(t):
            losses.append(-torch.log_softmax(read.logits[c, k], 0)[column[i + k + 1]])
    return sum(losses) / len(losses), tuple(values.detach() for values in read.state)


def gradients(model: nn.Module, loss: Tensor) -> dict[str, list[float]]:
    names, weights = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, weights)
    return {name: g.flatten().tolist() for name, g in zip(names, found, strict=True)}


def spread(
    model: nn.Module, text: Sequence[int], columns: int, segment: int
) -> dict[str, list[float]]:
    """The root of the mean over segments of each weight's squared gradient."""
    length = len(text) // columns
    table = [list(text[c * length : (c + 1) * length]) for c in range(columns)]
    squares = {name: [0.0] * p.numel() for name, p in model.named_parameters()}
    state: Any = ()
    i = segments = 0
    while i < length - 1:
        t = min(segment, length - 1 - i)
        loss, state = segment_loss(model, table, i, t, state)
        for name, values in gradients(model, loss).items():
            for k, value in enumerate(values):
                squares[name][k] += value * value
        i, segments = i + t, segments + 1
    return {name: [math.sqrt(v / segments) for v in values] for name, values in squares.items()}


def nll(
    model: nn.Module,
    text: Sequence[int],
    rms: dict[str, list[float]],
    lr: float,
    decay: float,
    epsilon: float,
    segment: int,
) -> float:
    """The mean loss per word of a network that is changed after each segment, and stays changed."""
    mean = sum(sum(values) / len(values) for values in rms.values()) / len(rms)
    rates = {name: [min(v / mean, 1 / decay) for v in values] for name, values in rms.items()}
    first = {name: p.detach().flatten().tolist() for name, p in model.named_parameters()}
    state: Any = ()
    total = weight = 0.0
    i = 0
    while i < len(text) - 1:
        t = min(segment, len(text) - 1 - i)
        loss, state = segment_loss(model, [list(text)], i, t, state)
        by_name = gradients(model, loss)
        for name, parameter in model.named_parameters():
            values = parameter.detach().flatten().tolist()
            for k, theta in enumerate(values):
                back = decay * rates[name][k] * (first[name][k] - theta)
                ahead = lr * by_name[name][k] / (rms[name][k] + epsilon)
                values[k] = theta + back - ahead
            with torch.no_grad():
                parameter.copy_(torch.tensor(values, dtype=parameter.dtype).view_as(parameter))
        total += t / segment * loss.item()
        weight += t / segment
        i += t
    return total / weight
