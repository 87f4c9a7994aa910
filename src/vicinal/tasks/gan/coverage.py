"""Measures of how well generated points cover a mixture; the paper shows only pictures.

A point is *good* within three standard deviations of the nearest mode's centre. The share of good
points and the number of modes with at least one are VEEGAN's measures (Srivastava et al., NIPS
2017, on the same two sets with 2,500 points; cited from memory). One point says little: 2,500
points spread evenly over the grid's square hit about 20 of its 25 modes. So a mode is *held* when a
tenth of its fair share of all points is good there; that threshold is ours. The energy distance to
real points still tells generators apart that have no good point yet.
"""

from dataclasses import asdict, dataclass
from math import exp, log

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vicinal.tasks.gan.mixtures import Mixture

Points = Float[Tensor, "n 2"]
Real = Float[Tensor, "m 2"]
WITHIN = 3.0  # standard deviations
HELD = 0.1  # of a mode's fair share
GOOD_OF_REAL = 1 - exp(-(WITHIN**2) / 2)  # of real points


@dataclass(frozen=True)
class Coverage:
    """The measures of one set of points."""

    good_share: float  # 0.989 for real points
    modes_hit: int  # with at least one good point
    modes_held: int  # with a tenth of their fair share
    kl: float | None  # KL(good points over modes || uniform), in nats; None without good points
    energy_distance: float  # 2 E|x - g| - E|x - x'| - E|g - g'|; 0 for equal distributions

    def as_dict(self) -> dict[str, float | None]:
        """For JSON."""
        return asdict(self)


def coverage(points: Points, real: Real, data: Mixture) -> Coverage:
    """Measure generated points; the real ones are for the energy distance alone."""
    distance, nearest = torch.cdist(points.double(), data.centres.double()).min(dim=1)
    good = nearest[distance <= WITHIN * data.std]
    counts = torch.bincount(good, minlength=len(data.centres))
    fair = len(points) / len(data.centres)
    return Coverage(
        good_share=len(good) / len(points),
        modes_hit=int((counts > 0).sum()),
        modes_held=int((counts >= HELD * fair).sum()),
        kl=divergence_from_uniform(counts) if len(good) else None,
        energy_distance=energy_distance(points.double(), real.double()),
    )


def divergence_from_uniform(counts: Int64[Tensor, " k"]) -> float:
    """KL(p || uniform) = Σ p log(k p), from 0 (even) to log k (one mode)."""
    shares = (counts / counts.sum()).tolist()
    return sum(p * log(p * len(shares)) for p in shares if p > 0)


def energy_distance(a: Points, b: Real) -> float:
    """The energy distance of two samples, over all pairs with self-pairs: never negative."""
    across, within_a, within_b = torch.cdist(a, b), torch.cdist(a, a), torch.cdist(b, b)
    return float(2 * across.mean() - within_a.mean() - within_b.mean())
