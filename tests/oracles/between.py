"""mixup's Figure 2, literally, for the network softmax(W x + b), one pair and one λ at a time."""

from math import exp, sqrt

Vector = list[float]


def logits(weights: list[Vector], bias: Vector, x: Vector) -> Vector:
    """W x + b."""
    return [
        sum(w * v for w, v in zip(row, x, strict=True)) + b
        for row, b in zip(weights, bias, strict=True)
    ]


def at(
    weights: list[Vector],
    bias: Vector,
    ends: tuple[Vector, Vector],
    classes: tuple[int, int],
    lam: float,
) -> tuple[bool, float]:
    """Whether argmax f(x~) is neither class, and |d CE(f(x~), y~) / dx~| = |W^T (p - y~)|_2."""
    x = [lam * i + (1 - lam) * j for i, j in zip(*ends, strict=True)]
    z = logits(weights, bias, x)
    p = [exp(value) / sum(exp(other) for other in z) for value in z]
    y = [lam * (k == classes[0]) + (1 - lam) * (k == classes[1]) for k in range(len(z))]
    gradient = [sum(row[d] * (p[k] - y[k]) for k, row in enumerate(weights)) for d in range(len(x))]
    return z.index(max(z)) not in classes, sqrt(sum(g * g for g in gradient))
