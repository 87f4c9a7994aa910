"""Per-sample losses, for targets that are distributions."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Literal

import torch
from torch.nn import functional as F

from vicinal.contracts import Logits, PerSample, Targets


def cross_entropy(logits: Logits, targets: Targets) -> PerSample:
    """- Σ_k y_k log softmax(z)_k, one value per sample."""
    return F.cross_entropy(logits, targets, reduction="none")


def binary_cross_entropy(logits: Logits, targets: Targets) -> PerSample:
    """- mean_k y_k log p_k + (1 - y_k) log(1 - p_k) with p = softmax(z), one value per sample.

    log(1 - p) of the largest p is the logarithm of the others' sum, which keeps its digits and its
    gradient when p is 1 to machine precision.
    """
    log_p = logits.log_softmax(dim=1)
    largest = log_p.argmax(dim=1, keepdim=True)
    others = log_p.scatter(1, largest, -inf)
    log_q = (-others.exp()).log1p().scatter(1, largest, others.logsumexp(dim=1, keepdim=True))
    return -(targets * log_p + (1 - targets) * log_q).mean(dim=1)


def clamped_binary_cross_entropy(logits: Logits, targets: Targets) -> PerSample:
    """As `binary_cross_entropy`, but in float32 from p itself, as in PatchUp's released code.

    Once p rounds to 1, torch clamps log(1 - p) at -100 and replaces p (1 - p) in its gradient by
    1e-12, so a network that is confident and wrong gets a larger loss and far larger gradients.
    """
    with torch.autocast(logits.device.type, enabled=False):  # autocast refuses this loss on CUDA
        p = logits.float().softmax(dim=1)
        return F.binary_cross_entropy(p, targets.float(), reduction="none").mean(dim=1)


def jensen_shannon(views: Sequence[Logits]) -> PerSample:
    """(1/K) Σ_k KL(p_k || M) with M the mean of the p_k = softmax(z_k), one value per sample.

    M is clamped from below, as in AugMix's code, so that the divergence cannot explode. Taking
    p log p from the logits keeps the gradient finite when p underflows.
    """
    log_p = torch.stack([logits.log_softmax(dim=1) for logits in views])
    log_mean = log_p.exp().mean(dim=0).clamp(1e-7, 1).log()
    return (log_p.exp() * (log_p - log_mean)).sum(dim=2).mean(dim=0)


LossName = Literal["ce", "bce", "bce_clamped"]
LOSSES: dict[LossName, Callable[[Logits, Targets], PerSample]] = {
    "ce": cross_entropy,
    "bce": binary_cross_entropy,
    "bce_clamped": clamped_binary_cross_entropy,
}


def kl_divergence(logits: Logits, targets: Targets) -> PerSample:
    """KL(y || softmax(z)), one value per sample: cross_entropy minus the targets' entropy."""
    return F.kl_div(logits.log_softmax(dim=1), targets, reduction="none").sum(dim=1)
