"""Puzzle Mix, literally: loops over blocks and pixels, and every labelling tried."""

from itertools import product
from math import comb, log

import torch
from torch import Tensor

Block = tuple[int, int]
Contrasts = dict[tuple[Block, Block], list[list[float]]]


def shares(saliency: Tensor, blocks: int) -> list[list[float]]:
    """Each block's share of one image's saliency (h, w)."""
    size = saliency.shape[0] // blocks
    total = saliency.sum().item()
    return [
        [
            sum(
                saliency[r, c].item()
                for r in range(i * size, (i + 1) * size)
                for c in range(j * size, (j + 1) * size)
            )
            / total
            for j in range(blocks)
        ]
        for i in range(blocks)
    ]


def pairs(blocks: int) -> list[tuple[Block, Block]]:
    """Neighbouring blocks: each with the one below it, and with the one to its right."""
    below = [((i, j), (i + 1, j)) for i in range(blocks - 1) for j in range(blocks)]
    return below + [((i, j), (i, j + 1)) for i in range(blocks) for j in range(blocks - 1)]


def contrasts(x: tuple[Tensor, Tensor], blocks: int, neigh: int) -> Contrasts:
    """d[i][j] for each pair of neighbours, the first from image i and the second from j."""
    return {
        (p, q): [[contrast(x[i], x[j], p, q, blocks, neigh) for j in (0, 1)] for i in (0, 1)]
        for p, q in pairs(blocks)
    }


def contrast(
    first: Tensor, second: Tensor, here: Block, there: Block, blocks: int, neigh: int
) -> float:
    """mean |a - b| over channels and along the border of block `here` of one image and `there` of
    the other, a and b being means of the cells of neigh x neigh pixels on either side."""
    channels, side, _ = first.shape
    size = side // blocks

    def cell(image: Tensor, channel: int, row: int, column: int) -> float:
        return image[channel, row : row + neigh, column : column + neigh].mean().item()

    total = 0.0
    for step in range(0, size, neigh):
        for channel in range(channels):
            if here[1] == there[1]:  # one above the other
                column = here[1] * size + step
                a = cell(first, channel, there[0] * size - neigh, column)
                b = cell(second, channel, there[0] * size, column)
            else:
                row = here[0] * size + step
                a = cell(first, channel, row, there[1] * size - neigh)
                b = cell(second, channel, row, there[1] * size)
            total += abs(a - b)
    return total / (channels * (size // neigh))


def energy(
    labels: list[list[int]],
    contrasts: Contrasts,
    saliency: tuple[list[list[float]], list[list[float]]],
    *,
    n_labels: int,
    lam: float,
    eta: float,
    beta: float,
    gamma: float,
) -> float:
    """Of image 1 mixed with its partner 0; z is the share of image 1 in each block.

    For labels in {0, 1} this is the paper's energy. Between them the code has every term linear in
    z, but for the quadratic one with the weights that make this true.
    """
    blocks, n = len(labels), n_labels - 1
    beta = beta / blocks / 16
    total = 0.0
    for i, j in product(range(blocks), repeat=2):
        z = labels[i][j] / n
        total += (1 - z) * saliency[1][i][j] + z * saliency[0][i][j]
        chance = comb(n, labels[i][j]) * lam ** labels[i][j] * (1 - lam) ** (n - labels[i][j])
        total -= eta * log(chance + 1e-8) / blocks**2
    for (p, q), d in contrasts.items():
        a, b = labels[p[0]][p[1]] / n, labels[q[0]][q[1]] / n
        along = (1 - a) * (d[0][0] + d[0][1]) / 2 + a * (d[1][0] + d[1][1]) / 2
        along += (1 - b) * (d[0][0] + d[1][0]) / 2 + b * (d[0][1] + d[1][1]) / 2
        across = (d[0][1] + d[1][0] - d[0][0] - d[1][1]) / 2
        total += beta * (a - b) ** 2 + beta * gamma * (along + across * (a - b) ** 2)
    return total


def energy_of_two(
    z: list[list[int]],
    contrasts: Contrasts,
    saliency: tuple[list[list[float]], list[list[float]]],
    *,
    lam: float,
    eta: float,
    beta: float,
    gamma: float,
) -> float:
    """The paper's energy for z in {0, 1}: saliency lost, unlikeness, contrasts, the prior."""
    blocks = len(z)
    beta = beta / blocks / 16
    total = 0.0
    for i, j in product(range(blocks), repeat=2):
        total += saliency[1 - z[i][j]][i][j]
        total -= eta * log((lam if z[i][j] else 1 - lam) + 1e-8) / blocks**2
    for (p, q), d in contrasts.items():
        a, b = z[p[0]][p[1]], z[q[0]][q[1]]
        total += beta * (a != b) + beta * gamma * d[a][b]
    return total


def labellings(blocks: int, n_labels: int) -> list[list[list[int]]]:
    """All of them."""
    return [
        [list(flat[i * blocks : (i + 1) * blocks]) for i in range(blocks)]
        for flat in product(range(n_labels), repeat=blocks**2)
    ]


def transport(z: list[list[float]], saliency: list[list[float]], t_eps: float) -> list[int]:
    """Alg. 1: the place that each block wins in the last round, or -1; blocks in reading order."""
    blocks = len(z)
    cells = list(product(range(blocks), repeat=2))
    cost = [
        [
            t_eps * ((i - k) ** 2 + (j - m) ** 2) / (blocks - 1) ** 2
            - saliency[i][j] * (z[k][m] > 0)
            for k, m in cells
        ]
        for i, j in cells
    ]
    won: list[int] = []
    for _ in range(blocks):
        wanted = [row.index(min(row)) for row in cost]
        won = [-1] * len(cells)
        for place in range(len(cells)):
            rivals = [block for block in range(len(cells)) if wanted[block] == place]
            if rivals:
                won[min(rivals, key=lambda block: cost[block][place])] = place
        for block, place in enumerate(wanted):
            if won[block] != place:
                cost[block][place] += 1
    return won


def rearranged(x: Tensor, won: list[int], blocks: int) -> Tensor:
    """One image (c, h, h) with its blocks where they won; NaN where none did."""
    out = torch.full_like(x, torch.nan)
    size = x.shape[1] // blocks
    for block, place in enumerate(won):
        if place >= 0:
            for r, c in product(range(size), repeat=2):
                to = (place // blocks) * size + r, (place % blocks) * size + c
                out[:, to[0], to[1]] = x[
                    :, (block // blocks) * size + r, (block % blocks) * size + c
                ]
    return out


def mixed(own: Tensor, other: Tensor, z: list[list[float]]) -> tuple[Tensor, float]:
    """z own + (1 - z) other, pixel by pixel, and the mean of z; nothing is read where z is 0."""
    size = own.shape[1] // len(z)
    out, total = torch.empty_like(own), 0.0
    for r, c in product(range(own.shape[1]), repeat=2):
        share = z[r // size][c // size]
        total += share
        mine = share * own[:, r, c] if share > 0 else 0
        theirs = (1 - share) * other[:, r, c] if share < 1 else 0
        out[:, r, c] = mine + theirs
    return out, total / own.shape[1] ** 2


def spread(z: list[list[float]], times: int) -> list[list[float]]:
    """Each value `times` x `times` times."""
    return [
        [z[i // times][j // times] for j in range(len(z) * times)] for i in range(len(z) * times)
    ]
