"""What happens between stages, literally: loops over samples, channels and pixels.

And a network to watch it in.
"""

from math import exp, log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 7  # of its images


class Small(nn.Module):
    """f = f_k(g_k(x)) at its layers; no BatchNorm, so that a sample does not see the others."""

    stages = ("stem", "stage1")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh())
        self.stage1 = nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.Tanh())
        self.fc = nn.Linear(5 * SIDE**2, 4)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(x, 0)

    def head(self, x: Tensor, layer: int) -> Tensor:
        """g_k(x)."""
        for stage in [self.stem, self.stage1][:layer]:
            x = stage(x)
        return x

    def tail(self, h: Tensor, layer: int) -> Tensor:
        """f_k(h)."""
        for stage in [self.stem, self.stage1][layer:]:
            h = stage(h)
        return self.fc(h.flatten(1))


def batch(count: int = 5) -> tuple[Tensor, Tensor]:
    """Images for it, and targets."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.arange(count) % 4, 4).double()


def adjusted(gamma: float, block: int, size: int) -> float:
    """PatchUp Eq. 2 for a square map."""
    return gamma * size**2 / (block**2 * (size - block + 1) ** 2)


def altered_share(gamma: float, block: int, size: int) -> float:
    """The mean over places of P(some seed lies within half a block), seeds being independent."""
    reach, none = block // 2, 1 - adjusted(gamma, block, size)
    near = [min(i + reach, size - 1) - max(i - reach, 0) + 1 for i in range(size)]
    return sum(1 - none ** (rows * columns) for rows in near for columns in near) / size**2


def mask_of(seeds: Tensor, block: int) -> Tensor:
    """M: zero on the square of side `block` around every seed, as far as it is on the map."""
    samples, channels, height, width = seeds.shape
    mask = torch.ones(seeds.shape, dtype=torch.float64)
    for n in range(samples):
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    if seeds[n, c, i, j]:
                        for r in range(i - block // 2, i + block // 2 + 1):
                            for s in range(j - block // 2, j + block // 2 + 1):
                                if 0 <= r < height and 0 <= s < width:
                                    mask[n, c, r, s] = 0
    return mask


def rectangle_of(lam: float, centre: tuple[int, int], size: int) -> Tensor:
    """M of the input: zero in CutMix's box, in every channel."""
    side = int(size * (1 - lam) ** 0.5)
    mask = torch.ones(1, 1, size, size, dtype=torch.float64)
    for i in range(size):
        for j in range(size):
            rows = centre[0] - side // 2 <= i < centre[0] + side // 2
            if rows and centre[1] - side // 2 <= j < centre[1] + side // 2:
                mask[0, 0, i, j] = 0
    return mask


def patched(h: Tensor, mask: Tensor, lam: float, partner: list[int]) -> Tensor:
    """PatchUp Eq. 3 (λ = 0) and 5: one mask for the batch."""
    out = torch.empty_like(h)
    samples, channels, height, width = h.shape
    for n in range(samples):
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    m = mask[0, c if mask.shape[1] > 1 else 0, i, j]
                    own, other = h[n, c, i, j], h[partner[n], c, i, j]
                    out[n, c, i, j] = m * own + (1 - m) * (lam * own + (1 - lam) * other)
    return out


def patchup_terms(
    logits: Tensor, y: Tensor, p_u: float, lam: float, partner: list[int], loss: str
) -> tuple[float, float]:
    """The two terms of Eq. 6, with Y of Eq. 6 and W of Eq. 7-8."""
    of = {"ce": cross_entropy, "bce": binary_cross_entropy}[loss]
    first = second = 0.0
    for i, j in enumerate(partner):
        z, y_i, y_j = logits[i].tolist(), y[i].tolist(), y[j].tolist()
        changed = [lam * a + (1 - lam) * b for a, b in zip(y_i, y_j, strict=True)]
        reweighted = [p_u * a + (1 - p_u) * b for a, b in zip(y_i, changed, strict=True)]
        first += p_u * of(z, y_i) + (1 - p_u) * of(z, changed)
        second += of(z, reweighted)
    return first / len(partner), second / len(partner)


def dropped(h: Tensor, mask: Tensor) -> Tensor:
    """DropBlock Alg. 1: h ⊙ M · count(M) / count_ones(M)."""
    ones = sum(mask.flatten().tolist())
    out = torch.empty_like(h)
    for place in range(h.numel()):
        value = h.flatten()[place] * mask.flatten()[place] * mask.numel() / ones
        out.view(-1)[place] = value
    return out


def softmax(logits: list[float]) -> list[float]:
    largest = max(logits)
    powers = [exp(z - largest) for z in logits]
    return [power / sum(powers) for power in powers]


def cross_entropy(logits: list[float], target: list[float]) -> float:
    """- Σ_k y_k log p_k."""
    return -sum(t * log(p) for t, p in zip(target, softmax(logits), strict=True))


def binary_cross_entropy(logits: list[float], target: list[float]) -> float:
    """The mean over classes of - y_k log p_k - (1 - y_k) log(1 - p_k)."""
    pairs = zip(target, softmax(logits), strict=True)
    return -sum(t * log(p) + (1 - t) * log(1 - p) for t, p in pairs) / len(target)


def clamped_binary_cross_entropy(p: list[float], target: list[float]) -> tuple[float, list[float]]:
    """torch's BCE of probabilities p, whose logarithms end at -100, and its gradient to the logits.

    To p_k it is (p_k - y_k) / max(p_k (1 - p_k), 1e-12); the softmax carries it on to the logits.
    """
    logs = [[max(log(q), -100.0) if q > 0 else -100.0 for q in (x, 1 - x)] for x in p]
    pairs = zip(target, logs, strict=True)
    loss = -sum(t * log_p + (1 - t) * log_q for t, (log_p, log_q) in pairs) / len(p)
    to_p = [(x - t) / max(x * (1 - x), 1e-12) / len(p) for x, t in zip(p, target, strict=True)]
    carried = sum(g * x for g, x in zip(to_p, p, strict=True))
    return loss, [x * (g - carried) for g, x in zip(to_p, p, strict=True)]


def nearest(points: list[list[float]], i: int, count: int, among: list[int]) -> list[float]:
    """The squared distances from i to its `count` nearest of `among`, itself excluded."""
    distances = [
        sum((a - b) ** 2 for a, b in zip(points[i], points[j], strict=True))
        for j in among
        if j != i
    ]
    return sorted(distances)[:count]


def whole_blocks(corners: Tensor, block: int, size: int) -> Tensor:
    """M of a square map: zero on the square of side `block` below and right of every corner."""
    samples, channels, places, _ = corners.shape
    mask = torch.ones(samples, channels, size, size, dtype=torch.float64)
    for n in range(samples):
        for c in range(channels):
            for i in range(places):
                for j in range(places):
                    if corners[n, c, i, j]:
                        for r in range(i, i + block):
                            for s in range(j, j + block):
                                mask[n, c, r, s] = 0
    return mask
