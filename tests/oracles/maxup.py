"""MaxUp Eq. 2-3, literally: for each sample the copy of the largest loss, then the mean."""

import copy
from collections.abc import Callable

import torch
from oracles.vicinities import cross_entropy
from torch import Tensor, nn
from torch.nn import functional as F


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


def worst_of_all(
    model: nn.Module,
    vicinity: Callable[..., tuple[Tensor, Tensor]],
    copies: int,
    in_eval: bool,
    x: Tensor,
    y: Tensor,
    rng: object,
) -> tuple[Tensor, Tensor]:
    """All copies kept, the losses of each with the same dropout, and the argmax of their stack."""
    draws = [vicinity(x, y, rng) for _ in range(copies)]
    state, losses = torch.get_rng_state(), []
    for copy_x, copy_y in draws:
        twin = copy.deepcopy(model).train(not in_eval)  # whose statistics are thrown away
        torch.set_rng_state(state)
        losses.append(F.cross_entropy(twin(copy_x), copy_y, reduction="none").detach())
    torch.set_rng_state(state)
    worst = torch.stack(losses).argmax(dim=0).tolist()
    chosen = [(draws[j][0][i], draws[j][1][i]) for i, j in enumerate(worst)]
    return torch.stack([x for x, _ in chosen]), torch.stack([y for _, y in chosen])
