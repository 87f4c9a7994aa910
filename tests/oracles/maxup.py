"""MaxUp Eq. 2-3, literally: for each sample the copy of the largest loss, then the mean."""

from collections.abc import Callable

from oracles.vicinities import cross_entropy
from torch import Tensor


def worst_copies(
    logits_of: Callable[[Tensor], Tensor], copies: list[tuple[Tensor, Tensor]]
) -> list[int]:
    """For each sample i, the index j of argmax_j L(x'_ij); the first of equals."""
    outputs = [logits_of(x).tolist() for x, _ in copies]
    worst = []
    for i in range(len(copies[0][0])):
        losses = [cross_entropy(outputs[j][i], y[i].tolist()) for j, (_, y) in enumerate(copies)]
        worst.append(losses.index(max(losses)))
    return worst
