"""AugMax Alg. 1 for one sample, its gradients by differences; the Jensen-Shannon divergence."""

from collections.abc import Callable
from math import exp, log

from oracles.chains import mixture
from oracles.vicinities import cross_entropy
from torch import Tensor


def softmax(values: list[float]) -> list[float]:
    """e^v over the sum of all."""
    total = sum(exp(v) for v in values)
    return [exp(v) / total for v in values]


def ascent(
    logits_of: Callable[[Tensor], list[float]],
    x: Tensor,
    y: list[float],
    chains: list[Tensor],
    start: list[float],
    *,
    steps: int,
    size: float,
    early_stop: str,
    k: int,
) -> Tensor:
    """The last iterate from `start` = (m, p_1, .., p_b)."""

    def image(at: list[float]) -> Tensor:
        return mixture(x, chains, at[0], softmax(at[1:]))

    def loss(at: list[float]) -> float:
        return cross_entropy(logits_of(image(at)), y)

    def missed(at: list[float]) -> bool:
        logits = logits_of(image(at))
        return logits.index(max(logits)) != y.index(max(y))

    def sign(at: list[float], j: int) -> int:
        up, down = at.copy(), at.copy()
        up[j], down[j] = up[j] + 1e-5, down[j] - 1e-5
        return 1 if loss(up) > loss(down) else -1

    at, count = list(start), 0
    for _ in range(steps):
        if early_stop == "intended":
            count += missed(at)
            if count >= k:
                break
        moves = [sign(at, j) for j in range(len(at))]
        at = [value + size * move for value, move in zip(at, moves, strict=True)]
        at[0] = min(max(at[0], 0.0), 1.0)
        if early_stop == "paper":
            count += missed(at)
            if count >= k:
                break
    return image(at)


def jensen_shannon(views: list[list[float]]) -> float:
    """(1/K) Σ_k Σ_c p_kc log(p_kc / M_c), M the mean, at least 1e-7."""
    p = [softmax(logits) for logits in views]
    mean = [max(sum(pk[c] for pk in p) / len(p), 1e-7) for c in range(len(p[0]))]
    return sum(pk[c] * log(pk[c] / mean[c]) for pk in p for c in range(len(mean))) / len(p)
