"""CERTIFY of Cohen et al. 2019, §3.2.2, literally: one noisy copy at a time."""

from collections.abc import Callable, Sequence
from statistics import NormalDist

import torch
from torch import Tensor

ABSTAIN = -1


def certify(
    class_of: Callable[[Tensor], int],
    classes: int,
    x: Tensor,
    sigma: float,
    selecting: Sequence[Tensor],
    estimating: Sequence[Tensor],
    alpha: float,
) -> tuple[int, float]:
    """The class and radius, or ABSTAIN and 0, from the noise of the two samples."""
    counts0 = sample_under_noise(class_of, classes, x, sigma, selecting)
    top = counts0.index(max(counts0))
    counts = sample_under_noise(class_of, classes, x, sigma, estimating)
    p_a = lower_confidence_bound(counts[top], len(estimating), alpha)
    if p_a > 0.5:
        return top, sigma * NormalDist().inv_cdf(p_a)
    return ABSTAIN, 0.0


def sample_under_noise(
    class_of: Callable[[Tensor], int],
    classes: int,
    x: Tensor,
    sigma: float,
    draws: Sequence[Tensor],
) -> list[int]:
    counts = [0] * classes
    for epsilon in draws:
        counts[class_of(x + sigma * epsilon)] += 1
    return counts


def lower_confidence_bound(k: int, n: int, alpha: float) -> float:
    """The rate p at which Binomial(n, p) is k or more with probability alpha, by bisection."""
    if k == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        low, high = (p, high) if tail(k, n, p) < alpha else (low, p)
    return low


def tail(k: int, n: int, p: float) -> float:
    """P[Binomial(n, p) >= k], term by term."""
    i = torch.arange(k, n + 1, dtype=torch.float64)
    total = torch.tensor(n + 1.0, dtype=torch.float64).lgamma()
    ways = total - (i + 1).lgamma() - (n - i + 1).lgamma()
    hit, miss = torch.tensor([p, 1 - p], dtype=torch.float64)
    logs = ways + torch.xlogy(i, hit) + torch.xlogy(n - i, miss)
    return logs.exp().sum().item()


def certified_accuracy(rows: Sequence[tuple[int, int, float]], radius: float) -> float:
    """The share, in percent, of (label, predict, radius) that are right and reach the radius."""
    hits = sum(1 for label, predict, own in rows if predict == label and own >= radius)
    return 100 * hits / len(rows)
