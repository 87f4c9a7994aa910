"""Certified accuracy by randomised smoothing: no shift within an image's radius changes its class.

The smoothed network predicts the class that f(x + σ ε), ε ~ N(0, I), has most often. If p is a
lower bound on the probability of that class, it stays the same within the l2 radius σ Φ⁻¹(p).

Paper:    Cohen, Rosenfeld, Kolter, Certified Adversarial Robustness via Randomized Smoothing,
          ICML 2019, arXiv 1902.02918; §3.2.2 CERTIFY, with Clopper and Pearson's bound; Theorem 1
Code:     locuslab/smoothing (commit 78a4d94) core.py, certify.py; analyze.py: radius >= r. Its
          logs for CIFAR-10 at σ >= 0.25 have radii that n = 100,000 copies give at alpha = 0.01
          alone, not at the paper's 0.001
Differs:  an image's noise follows from the seed and its row, so that its certificate does not
          depend on other images, batch_size or ranks; a copy whose logits hold NaN has no class
Cost:     n0 + n forwards per image, rounded up to equal batches of whole blocks
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, log2
from statistics import fmean
from time import perf_counter
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from scipy import stats
from torch import Tensor, nn

from vicinal.contracts import Logits
from vicinal.data.batches import as_inputs
from vicinal.data.dataset import Data
from vicinal.draws import Rng, derived_seed
from vicinal.evaluation.batches import device_of
from vicinal.evaluation.evaluation import Numbers, Parts, each
from vicinal.machine import ranks
from vicinal.surgery.modes import evaluating

ABSTAIN = -1  # instead of a class
BLOCK = 100  # noisy copies that share a seed

Image = Float[Tensor, "1 ..."]
Counts = Int64[Tensor, "3 k"]  # by use and class
Uses = Int64[Tensor, "batches copies"]
SELECT, ESTIMATE, UNUSED = range(3)  # what a noisy copy is for


@dataclass(frozen=True)
class Certified:
    """Percent of test images that are right and certified at each of `radii`, and that have none.

    Of every `every`-th test image `n0` noisy copies select a class, and `n` others bound its
    probability from below, with confidence 1 - alpha; at less than 1/2 there is no certificate. The
    noise has the scale of images in [0, 1] and is not clipped. `mean_radius` counts wrong images
    and those without a certificate as 0. The certificates are for the network in the precision that
    it runs in: in bf16 it is another network than in fp32.
    """

    sigma: float
    n0: int = 100
    n: int = 100_000
    alpha: float = 0.001
    every: int = 20
    radii: Sequence[float] = tuple(step / 4 for step in range(17))
    batch_size: int = 10_000  # at most, of noisy copies

    columns: ClassVar[tuple[str, ...]] = ("idx", "label", "predict", "radius", "correct", "time")

    def __post_init__(self) -> None:
        if self.sigma <= 0:
            raise ValueError(f"sigma must be positive, got {self.sigma}")
        for name in ("n0", "n", "every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must be between 0 and 1, got {self.alpha}")
        if self.n < (least := ceil(-log2(self.alpha))):
            raise ValueError(
                f"n must be at least {least} for this alpha, {self.alpha}, got {self.n} "
                "(fewer certify nothing, even if all agree)"
            )
        if not self.radii or min(self.radii) < 0:
            raise ValueError(f"radii must be given and at least 0, got {self.radii}")
        if self.batch_size < 1 or self.batch_size % BLOCK:
            raise ValueError(
                f"batch_size must be a multiple of {BLOCK}, got {self.batch_size} "
                f"(noise is drawn for {BLOCK} copies at a time)"
            )

    def passes(self, images: int) -> int | None:
        """Of all noisy copies of every `every`-th image."""
        return ceil(images / self.every) * (self.n0 + self.n)

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers:
        device = device_of(model, data.test.y)
        uses = self._uses().to(device)

        def measure(name: str) -> Numbers:
            began = perf_counter()
            ((x, y, _),) = data.test.batches([torch.tensor([int(name)])])
            x, y = as_inputs(x.to(device)), y.to(device)
            classes = data.num_classes
            counts = self._counts(model, x, uses, classes, rng.fork(name))
            label, *votes = torch.cat([y, counts[:UNUSED].flatten()]).tolist()  # the only wait
            predicted, radius = self._certificate(votes[:classes], votes[classes:])
            return {
                "label": float(label),
                "predict": float(predicted),
                "radius": radius,
                "correct": float(predicted == label),
                "time": perf_counter() - began,
            }

        with evaluating(model), torch.no_grad():
            found = parts([str(row) for row in range(0, len(data.test), self.every)], measure)
        return self._numbers(list(found.values()))

    def _uses(self) -> Uses:
        """What each copy is for, by batch.

        All batches are equal, so that a copy's logits do not depend on the number of ranks, and
        that a compiled network sees one shape. The copies that fill them up are not counted.
        """
        needed = {use: ceil(n / BLOCK) for use, n in ((SELECT, self.n0), (ESTIMATE, self.n))}
        blocks = sum(needed.values())
        batches = ceil(blocks * BLOCK / self.batch_size)
        uses = torch.full((batches, ceil(blocks / batches) * BLOCK), UNUSED)
        first = needed[SELECT] * BLOCK
        uses.view(-1)[: self.n0] = SELECT
        uses.view(-1)[first : first + self.n] = ESTIMATE
        return uses

    def _counts(self, model: nn.Module, x: Image, uses: Uses, classes: int, draws: Rng) -> Counts:
        """How many copies of the image `x` have each class, of those for each use."""
        counts = torch.zeros(3 * classes, dtype=torch.int64, device=x.device)
        for number in range(ranks.rank(), len(uses), ranks.world_size()):
            logits = model(self._noisy(x, uses.shape[1], number, draws))
            assert logits.shape[1] == classes
            places = _places(logits, uses[number])
            counts.scatter_add_(0, places, torch.ones_like(places))
        return ranks.all_reduce_(counts).view(3, classes)

    def _noisy(self, x: Image, copies: int, number: int, draws: Rng) -> Float[Tensor, "m ..."]:
        """Batch `number` of noisy copies: each block has a seed of its own, for any batch size."""
        seed, first = draws.shared.initial_seed(), number * copies // BLOCK
        noise = x.new_empty((copies, *x.shape[1:]))
        for block, values in enumerate(noise.split(BLOCK), first):
            draws.device.manual_seed(derived_seed(seed, "noise", block))
            values.normal_(generator=draws.device)
        return noise.mul_(self.sigma).add_(x)

    def _certificate(self, selecting: list[int], estimating: list[int]) -> tuple[int, float]:
        """The predicted class and its radius."""
        guess = selecting.index(max(selecting))
        p = lower_bound(estimating[guess], self.n, self.alpha)
        return (guess, self.sigma * float(stats.norm.ppf(p))) if p >= 0.5 else (ABSTAIN, 0.0)

    def _numbers(self, rows: Sequence[Numbers]) -> Numbers:
        radii = [row["radius"] if row["correct"] else -inf for row in rows]
        return {
            f"{radius:g}_certified_accuracy": 100 * fmean(own >= radius for own in radii)
            for radius in self.radii
        } | {
            "abstained": 100 * fmean(row["predict"] == ABSTAIN for row in rows),
            "mean_radius": fmean(max(own, 0.0) for own in radii),
        }


def lower_bound(k: int, n: int, alpha: float) -> float:
    """Clopper and Pearson's bound: n draws have k or more hits with chance alpha at this rate."""
    return float(stats.beta.ppf(alpha, k, n - k + 1)) if k else 0.0


def _places(logits: Logits, uses: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Where each copy counts among Counts."""
    uses = uses.masked_fill(logits.isnan().any(1), UNUSED)
    return uses * logits.shape[1] + logits.argmax(1)
