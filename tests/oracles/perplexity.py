"""The likelihood of a text, one word at a time."""

import math
from collections.abc import Sequence

import torch
from torch import nn


def nll(model: nn.Module, text: Sequence[int], columns: int) -> float:
    """The mean of -log p(next word) over each column's words but the first."""
    length = len(text) // columns
    total, count = 0.0, 0
    for c in range(columns):
        state: tuple = ()
        for k in range(c * length, c * length + length - 1):
            with torch.no_grad():
                read = model(torch.tensor([[text[k]]]), state)
            state = read.state
            logits = read.logits[0, 0].tolist()
            largest = max(logits)
            log_sum = largest + math.log(math.fsum(math.exp(v - largest) for v in logits))
            total += log_sum - logits[text[k + 1]]
            count += 1
    return total / count
