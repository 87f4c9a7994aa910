"""Signs that an attack on a network cannot be trusted, as numbers.

Paper:    Croce et al., RobustBench, NeurIPS 2021 Datasets and Benchmarks, arXiv 2010.09670
Code:     fra31/auto-attack (commit a392200) checks.py, with its tolerances
Differs:  the gradients are those of cross-entropy; logits are computed twice, not five times
"""

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from vicinal.attacks.attack import at_images
from vicinal.contracts import Images, Logits, Targets
from vicinal.evaluation.evaluation import Numbers
from vicinal.surgery.modes import searched

CHECKS = ("zero_gradients", "random_logits", "probabilities")


def signs(model: nn.Module, x: Images, y: Targets) -> Bool[Tensor, "n 3"]:
    """Which images show which of CHECKS.

    The loss has no gradient in any pixel; logits are not the same in a second pass; outputs are
    from 0 to 1 and sum to 1, so that they are no logits.
    """
    with searched(model):
        logits, gradient = at_images(model, x, y)
        first, zero = logits.clone(), (gradient == 0).flatten(1).all(1)
        with torch.no_grad():
            second = model(x)
    random = (second - first).norm(dim=1) > 1e-4 * first.norm(dim=1)
    return torch.stack([zero, random, _are_probabilities(first)], dim=1)


def percentages(found: Tensor) -> Numbers:
    """The mean of each check over the images."""
    return dict(zip(CHECKS, (100 * found.double().mean(0)).tolist(), strict=True))


def _are_probabilities(outputs: Logits) -> Bool[Tensor, "n"]:
    in_range = ((outputs > -1e-5) & (outputs < 1 + 1e-5)).all(1)
    return in_range & ((outputs.sum(1) - 1).abs() < 1e-5)
