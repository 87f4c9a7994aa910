"""Measures of how a two-class network changes along lines between points of the classes.

mixup's Fig. 1b shows "decision boundaries that transition linearly from class to class" (§2). On
the line x(λ) = λ x_1 + (1 - λ) x_0 between a point of class 1 and one of class 0, linear is
p(y = 1 | x(λ)) = λ. The numbers are ours; the paper shows shading.
"""

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.surgery.modes import evaluating

PAIRS, PLACES = 1000, 51


@dataclass(frozen=True)
class Transition:
    """The measures, as means over pairs."""

    gap: float  # mean |p - λ| along the line; 0 if linear, 0.25 for a step half-way
    steepest: float  # largest |dp/dλ| along the line; 1 if linear, 50 (one place) for a step
    entropy: float  # of p along the line, in bits; 0.72 if linear, 0 for a step

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def transition(model: nn.Module, split: Split, rng: Rng) -> Transition:
    """Measure on random pairs of a class 0 point and a class 1 point."""
    ends = [_drawn(split, label, rng) for label in (0, 1)]
    lam = torch.linspace(0, 1, PLACES).view(-1, 1, 1)
    p = probability(model, (lam * ends[1] + (1 - lam) * ends[0]).flatten(0, 1))
    return along(p.view(PLACES, PAIRS))


def probability(model: nn.Module, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    """p(y = 1 | x), in float64."""
    with evaluating(model), torch.no_grad():
        return model(x).double().softmax(dim=1)[:, 1]


def along(p: Float[Tensor, "places pairs"]) -> Transition:
    """Measure probabilities at evenly spaced places, from class 0 to class 1."""
    lam = torch.linspace(0, 1, len(p), dtype=p.dtype).view(-1, 1)
    bits = -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)) / torch.log(torch.tensor(2.0))
    return Transition(
        gap=float((p - lam).abs().mean()),
        steepest=float(p.diff(dim=0).abs().amax(dim=0).mean() * (len(p) - 1)),
        entropy=float(bits.mean()),
    )


def _drawn(split: Split, label: int, rng: Rng) -> Float[Tensor, "n d"]:
    points = split.x[split.y == label]
    return points[torch.randint(len(points), (PAIRS,), generator=rng.cpu)]
