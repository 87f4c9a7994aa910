"""Losses a sample, for targets that are distributions."""

from torch.nn import functional as F

from vicinal.contracts import Logits, PerSample, Targets


def cross_entropy(logits: Logits, targets: Targets) -> PerSample:
    """- Σ_k y_k log softmax(z)_k, one value a sample."""
    return F.cross_entropy(logits, targets, reduction="none")
