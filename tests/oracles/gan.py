"""Literal transcriptions of §3.7 of mixup and of its code's batches: loops over samples."""

from math import exp, log, sqrt

from torch import Tensor


def cross_entropy(logit: float, label: float) -> float:
    """The binary cross-entropy of sigmoid(logit)."""
    p = 1 / (1 + exp(-logit))
    return -(label * log(p) + (1 - label) * log(1 - p))


def plain(logits_real: list[float], logits_fake: list[float]) -> float:
    """E l(d(x), 1) + l(d(g(z)), 0)."""
    total = 0.0
    for real, fake in zip(logits_real, logits_fake, strict=True):
        total += cross_entropy(real, 1) + cross_entropy(fake, 0)
    return total / len(logits_real)


def paper_points(real: Tensor, fake: Tensor, lams: list[float]) -> list[list[float]]:
    """λ x + (1 - λ) g(z)."""
    return [
        [lam * float(x[axis]) + (1 - lam) * float(g[axis]) for axis in range(2)]
        for x, g, lam in zip(real, fake, lams, strict=True)
    ]


def code_batch(
    first: tuple[Tensor, Tensor],
    second: tuple[Tensor, Tensor],
    lams: list[float],
    partner: list[int],
) -> list[list[float]]:
    """Rows x, y, label: a point of one half-real batch mixed with one of another, and so labels."""
    pools = []
    for real, fake in (first, second):
        pool = [[float(p[0]), float(p[1]), 1.0] for p in real]
        pool += [[float(p[0]), float(p[1]), 0.0] for p in fake]
        pools.append(pool)
    return [
        [lam * a + (1 - lam) * b for a, b in zip(pools[0][i], pools[1][j], strict=True)]
        for i, (lam, j) in enumerate(zip(lams, partner, strict=True))
    ]


def good_points(points: Tensor, centres: Tensor, std: float) -> list[int]:
    """How many points lie within three standard deviations of each centre."""
    counts = [0] * len(centres)
    for point in points.tolist():
        for k, centre in enumerate(centres.tolist()):
            if sqrt((point[0] - centre[0]) ** 2 + (point[1] - centre[1]) ** 2) <= 3 * std:
                counts[k] += 1
    return counts


def energy_distance(a: Tensor, b: Tensor) -> float:
    """2 E|x - g| - E|x - x'| - E|g - g'|."""

    def mean(first: list[list[float]], second: list[list[float]]) -> float:
        pairs = [sqrt((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2) for p in first for q in second]
        return sum(pairs) / len(pairs)

    first, second = a.tolist(), b.tolist()
    return 2 * mean(first, second) - mean(first, first) - mean(second, second)
