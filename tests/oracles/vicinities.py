"""Literal transcriptions of the vicinities' equations: loops over samples, channels and pixels."""

from math import exp, log, sqrt

import torch
from torch import Tensor


def mixup(x: Tensor, y: Tensor, lams: list[float], partner: list[int]) -> tuple[Tensor, Tensor]:
    """Zhang et al. §1: x' = λ x_i + (1 - λ) x_j, y' = λ y_i + (1 - λ) y_j."""
    mixed_x, mixed_y = torch.empty_like(x), torch.empty_like(y)
    for i in range(len(x)):
        lam, j = lams[i], partner[i]
        for p in range(x[i].numel()):
            mixed_x[i].view(-1)[p] = lam * x[i].reshape(-1)[p] + (1 - lam) * x[j].reshape(-1)[p]
        for k in range(y.shape[1]):
            mixed_y[i, k] = lam * y[i, k] + (1 - lam) * y[j, k]
    return mixed_x, mixed_y


def cutmix(
    x: Tensor, y: Tensor, lam: float, centre: tuple[int, int], partner: list[int]
) -> tuple[Tensor, Tensor]:
    """Yun et al. Eq. 1-2: M ⊙ x_A + (1 - M) ⊙ x_B, labels by the share of pixels kept."""
    _, channels, height, width = x.shape
    box_h, box_w = int(height * sqrt(1 - lam)), int(width * sqrt(1 - lam))
    mixed_x, mixed_y = torch.empty_like(x), torch.empty_like(y)
    for i, j in enumerate(partner):
        kept = 0
        for r in range(height):
            for c in range(width):
                inside = (
                    centre[0] - box_h // 2 <= r < centre[0] + box_h // 2
                    and centre[1] - box_w // 2 <= c < centre[1] + box_w // 2
                )
                kept += not inside
                for ch in range(channels):
                    mixed_x[i, ch, r, c] = x[j, ch, r, c] if inside else x[i, ch, r, c]
        share = kept / (height * width)
        for k in range(y.shape[1]):
            mixed_y[i, k] = share * y[i, k] + (1 - share) * y[j, k]
    return mixed_x, mixed_y


def cutout(x: Tensor, centres: list[tuple[int, int]], length: int, fill: list[float]) -> Tensor:
    """DeVries & Taylor §3: the square [c - L/2, c + L/2) around each centre is masked."""
    masked = x.clone()
    for i, (row, column) in enumerate(centres):
        for r in range(x.shape[2]):
            for c in range(x.shape[3]):
                if -(length // 2) <= r - row < length - length // 2:
                    if -(length // 2) <= c - column < length - length // 2:
                        for ch in range(x.shape[1]):
                            masked[i, ch, r, c] = fill[ch]
    return masked


def crop_flip(
    x: Tensor, padding: int, mode: str, offsets: list[tuple[int, int]], flips: list[bool]
) -> Tensor:
    """RandomCrop(padding) then RandomHorizontalFlip, pixel by pixel."""
    out = torch.zeros_like(x)
    height, width = x.shape[2:]

    def reflected(position: int, size: int) -> int:
        position = abs(position)
        return position if position < size else 2 * (size - 1) - position

    for i, ((top, left), flip) in enumerate(zip(offsets, flips, strict=True)):
        for r in range(height):
            for c in range(width):
                row, column = r + top - padding, (width - 1 - c if flip else c) + left - padding
                if mode == "reflect":
                    row, column = reflected(row, height), reflected(column, width)
                if 0 <= row < height and 0 <= column < width:
                    out[i, :, r, c] = x[i, :, row, column]
    return out


def label_smoothing(y: Tensor, epsilon: float) -> Tensor:
    """mixup Table 5's targets: 1 - (k - 1) ε/k for the class, ε/k for the others."""
    k = y.shape[1]
    smooth = torch.empty_like(y)
    for i in range(len(y)):
        for c in range(k):
            smooth[i, c] = 1 - (k - 1) * epsilon / k if y[i, c] == 1 else epsilon / k
    return smooth


def cross_entropy(logits: list[float], target: list[float]) -> float:
    """- Σ_k y_k log p_k with p the softmax, one sample."""
    largest = max(logits)
    total = sum(exp(z - largest) for z in logits)
    return -sum(t * (z - largest - log(total)) for z, t in zip(logits, target, strict=True))
