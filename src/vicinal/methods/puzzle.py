"""Puzzle Mix's two optimisations: whose block to show at each place, and where to move blocks.

Images are divided into `blocks` x `blocks` square blocks. A block's label says how many of n - 1
parts come from its own image; the rest are its partner's.
"""

from itertools import pairwise
from math import comb
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from vicinal.contracts import Images

if TYPE_CHECKING:
    from maxflow import GraphFloat

Grid = Float[Tensor, "n b b"]
Down = Float[Tensor, "n d b"]  # between each block and the one below it: d is b - 1
Right = Float[Tensor, "n b d"]


def block_shares(saliency: Float[Tensor, "n h w"], blocks: int) -> Grid:
    """Each block's share of its image's saliency; all 0 if all gradients are 0."""
    sums = F.avg_pool2d(saliency, saliency.shape[1] // blocks)
    total = sums.sum(dim=(1, 2), keepdim=True)
    return sums / total.clamp_min(torch.finfo(total.dtype).tiny)


def contrasts(
    x: Images, partner: Int64[Tensor, " n"], blocks: int, neigh_size: int
) -> tuple[Float[Tensor, "n 2 2 d b"], Float[Tensor, "n 2 2 b d"]]:
    """How much pixels differ across the borders of blocks, down and to the right.

    The mean over channels and along the border of |a - b|, for cells of `neigh_size` pixels per
    side. [:, i, j] takes the first block from image i and the second from j, where 1 is the image
    and 0 its partner.
    """
    cells = F.avg_pool2d(x, neigh_size)
    choices = torch.stack([cells[partner], cells], dim=1)
    along = choices.shape[3] // blocks

    def down(choices: Float[Tensor, "n 2 c h w"]) -> Float[Tensor, "n 2 2 d b"]:
        last, first = choices[..., along - 1 : -1 : along, :], choices[..., along::along, :]
        border = (last[:, :, None] - first[:, None]).abs().mean(dim=3)
        return border.unflatten(4, (blocks, along)).mean(dim=5)

    return down(choices), down(choices.mT).mT


def quadratic(
    shares: Grid,
    their_shares: Grid,
    down: Float[Tensor, "n 2 2 d b"],
    right: Float[Tensor, "n 2 2 b d"],
) -> tuple[Float[Tensor, "n b b 2"], Down, Right]:
    """The energy of saliency lost and of contrasts, as costs of 0 and 1 and weights.

    For z in {0, 1}: Σ cost_p(z_p) + Σ weight_pq (z_p - z_q)² is, up to a constant, Σ s_p (1 - z_p)
    + s'_p z_p + Σ contrast_pq(z_p, z_q).
    """
    costs = torch.stack([shares, their_shares], dim=3)  # of giving up the image, or its partner
    costs[:, :-1] += down.sum(dim=2).movedim(1, -1) / 2
    costs[:, 1:] += down.sum(dim=1).movedim(1, -1) / 2
    costs[:, :, :-1] += right.sum(dim=2).movedim(1, -1) / 2
    costs[:, :, 1:] += right.sum(dim=1).movedim(1, -1) / 2

    def weights(c: Float[Tensor, "n 2 2 h w"]) -> Float[Tensor, "n h w"]:
        return (c[:, 0, 1] + c[:, 1, 0] - c[:, 0, 0] - c[:, 1, 1]) / 2

    return costs, weights(down), weights(right)


def surprise(n_labels: int, lam: float) -> Float[Tensor, " k"]:
    """- log of the probability of each label under Bin(n - 1, λ), kept finite as in the code."""
    n = n_labels - 1
    chances = [comb(n, i) * lam**i * (1 - lam) ** (n - i) for i in range(n + 1)]
    return -torch.tensor(chances, dtype=torch.float64).add(1e-8).log()


def minimal_labels(
    unary: Float[Tensor, "n b b k"], down: Down, right: Right
) -> Int64[Tensor, "n b b"]:
    """argmin over labels 0 .. k - 1 of Σ unary_p(l_p) + Σ weight_pq ((l_p - l_q) / (k - 1))².

    Exact, by one minimum cut for the whole batch (Ishikawa, PAMI 2003): node i of a block is on
    the sink's side if its label is above i, and d² is 1 for each of d nodes plus 2 for each pair of
    them. All weights must be at least 0.
    """
    costs, *weights = (t.detach().double().cpu().numpy() for t in (unary, down, right))
    from maxflow import GraphFloat  # noqa: PLC0415 (optional)

    count, rows, columns, labels = costs.shape
    num_nodes = costs.size // labels * (labels - 1)
    graph = GraphFloat(num_nodes, num_nodes * 2 * labels)
    nodes = graph.add_grid_nodes((labels - 1, count, rows, columns))
    steps = np.moveaxis(np.diff(costs, axis=3), 3, 0)
    graph.add_grid_tedges(nodes, steps, np.zeros_like(steps))
    for lower, upper in pairwise(nodes):
        _add_edges(graph, lower, upper, np.inf)
    neighbours = (nodes[:, :, :-1], nodes[:, :, 1:]), (nodes[..., :-1], nodes[..., 1:])
    for (here, there), weight in zip(neighbours, weights, strict=True):
        unit = weight / (labels - 1) ** 2
        for i in range(labels - 1):
            _add_edges(graph, here[i], there[i], unit, unit)
            for lower in range(i):
                _add_edges(graph, here[lower], there[i], 2 * unit)
                _add_edges(graph, there[lower], here[i], 2 * unit)
    graph.maxflow()
    found = graph.get_grid_segments(nodes).sum(axis=0)
    return torch.from_numpy(found).to(unary.device, non_blocking=True)


Capacity = np.ndarray | float


def _add_edges(
    graph: "GraphFloat",
    start: np.ndarray,
    end: np.ndarray,
    capacity: Capacity,
    back: Capacity = 0.0,
) -> None:
    capacities = (np.broadcast_to(c, start.shape).ravel() for c in (capacity, back))
    graph.add_edges(start.ravel(), end.ravel(), *capacities)


def transported(mask: Grid, shares: Grid, t_eps: float) -> Int64[Tensor, "n p"]:
    """Which block of its image each place receives; places with a mask of 0 show no saliency.

    Alg. 1 of the paper: each block bids for the place of lowest cost, which is t_eps · squared
    distance minus the saliency that would show. A place accepts its lowest bid, and for the losers
    the cost of that place grows by 1. There are as many rounds as blocks per side.
    """
    count, blocks, _ = mask.shape
    at = torch.arange(blocks, device=mask.device)
    point = torch.cartesian_prod(at, at)
    # Integers, so that moves of equal length cost exactly the same; ties go to the first place.
    squares = (point[:, None] - point).square().sum(dim=2)
    distance = squares.to(shares.dtype) / (blocks - 1) ** 2
    cost = t_eps * distance - shares.reshape(count, -1, 1) * (mask > 0).reshape(count, 1, -1)
    block = torch.arange(blocks**2, device=mask.device).expand(count, -1)
    unassigned = torch.full_like(block, blocks**2)
    source = block
    for _ in range(blocks):
        place = cost.argmin(dim=2)
        bid = cost.gather(2, place[..., None])[..., 0]
        lowest = torch.full_like(bid, torch.inf).scatter_reduce(1, place, bid, "amin")
        first = torch.where(bid == lowest.gather(1, place), block, unassigned)
        source = unassigned.scatter_reduce(1, place, first, "amin")
        lost = source.gather(1, place) != block
        cost.scatter_add_(2, place[..., None], lost[..., None].to(cost.dtype))
    return torch.where(source == unassigned, block, source)


def rearranged(x: Images, source: Int64[Tensor, "n p"]) -> Images:
    """Each block taken from the place that `source` names."""
    count, channels, height, _ = x.shape
    blocks = int(source.shape[1] ** 0.5)
    size = height // blocks
    parts = x.reshape(count, channels, blocks, size, blocks, size).permute(0, 2, 4, 1, 3, 5)
    rows = torch.arange(count, device=x.device)[:, None]
    moved = parts.flatten(1, 2)[rows, source].unflatten(1, (blocks, blocks))
    return torch.empty_like(x).copy_(moved.permute(0, 3, 1, 4, 2, 5).reshape(x.shape))
