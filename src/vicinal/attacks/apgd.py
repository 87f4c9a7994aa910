"""Auto-PGD: ascent on the loss with momentum, whose step is halved where it no longer helps.

x' <- Π(x' + 3/4 (z - x') + 1/4 (x' - the x' before)) with z = Π(x' + η d), d = sign ∇ CE(f(x'), y).

Paper:    Croce & Hein, ICML 2020, arXiv 2003.01690; §3, Alg. 1
Code:     fra31/auto-attack (commit a392200) autopgd_base.py, with the loss `ce` and one restart
Differs:  from the paper, as the code does: the start lies on the surface of the ball, checkpoints
          are whole numbers of steps, a step is halved after exactly ρ of rises, too, the first step
          counts as a rise, and condition 2 is left out at the first checkpoint.
          From the code: images that are missed without an attack are attacked like the others,
          and 1e-12 is not added to the norm of a gradient, however small it is (L2)
Cost:     `steps` + 1 forwards, each with a backward to the images
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from vicinal.attacks.attack import at_images
from vicinal.attacks.threat import Region, Threat
from vicinal.contracts import Images, PerSample, Targets
from vicinal.draws import Draws
from vicinal.losses import cross_entropy
from vicinal.surgery.modes import searched

MOMENTUM = 0.75  # α of Alg. 1: how much of a move is the new step; the rest repeats the last move


@dataclass(frozen=True)
class Apgd:
    """Returns the last misclassified image on the way, the start included, as the code does.

    An image that withstands all of them is returned as it was. For L2, d is the gradient over its
    norm. η begins at 2ε; each sample's is halved at a checkpoint where at most ρ of the steps since
    the last one raised the loss, or where neither η nor the highest loss changed since. The sample
    then continues from the image with its highest loss.
    """

    threat: Threat
    steps: int = 100
    rho: float = 0.75

    def __post_init__(self) -> None:
        self.threat.check_bounded("the first step is 2ε")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not 0 <= self.rho <= 1:
            raise ValueError(f"rho must be from 0 to 1, got {self.rho} (a share of the steps)")

    @property
    def passes(self) -> int:
        """Forward passes per image; a backward pass takes as long as two."""
        return 3 * (self.steps + 1)

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Draws) -> Images:
        region = self.threat.around(model, x)
        start = _start(region, rng)
        with searched(model):
            return self._last_missed(model, region, start, y)

    def _last_missed(self, model: nn.Module, region: Region, start: Images, y: Targets) -> Images:
        at, missed = _visited(model, start, y)
        best, before = at, at.x
        found = torch.where(missed.view(-1, 1, 1, 1), at.x, region.project(region.x))
        sizes = _Sizes(start.new_full((len(start), 1, 1, 1), 2 * region.epsilon), at.loss)
        since_last = dict(self._checkpoints())
        for number in range(1, self.steps + 1):
            new = MOMENTUM if number > 1 else 1.0
            ahead = region.project(at.x + sizes.step * region.steepest(at.gradient))
            moved = at.x + new * (ahead - at.x) + (1 - new) * (at.x - before)
            before = at.x
            at, missed = _visited(model, region.project(moved), y)
            found = torch.where(missed.view(-1, 1, 1, 1), at.x, found)
            best = best.replaced(at.loss > best.loss, at)
            sizes.count(at.loss)
            if number in since_last:
                at = at.replaced(sizes.halve(self.rho * since_last[number], best.loss), best)
        return found

    def _checkpoints(self) -> Iterator[tuple[int, int]]:
        """The steps w_1, w_2, .. after which η may be halved, and the steps since the last one."""
        period, shorter, least = (max(int(share * self.steps), 1) for share in (0.22, 0.03, 0.06))
        number = period
        while number <= self.steps:
            yield number, period
            period = max(period - shorter, least)
            number += period


class _Point(NamedTuple):
    """An image on the way of each sample."""

    x: Images
    loss: PerSample
    gradient: Images

    def replaced(self, chosen: Bool[Tensor, "n"], other: "_Point") -> "_Point":
        """These points, the chosen ones replaced by the other's."""
        wide = chosen.view(-1, 1, 1, 1)
        return _Point(
            torch.where(wide, other.x, self.x),
            torch.where(chosen, other.loss, self.loss),
            torch.where(wide, other.gradient, self.gradient),
        )


class _Sizes:
    """η of each sample, and what the conditions of Alg. 1 compare."""

    def __init__(self, step: Tensor, loss: PerSample) -> None:
        self.step = step
        self.last = torch.zeros_like(loss)  # below any loss: the first step counts as a rise
        self.rises = torch.zeros_like(loss, dtype=torch.int64)
        self.highest, self.halved = loss, torch.ones_like(loss, dtype=torch.bool)

    def count(self, loss: PerSample) -> None:
        """Note whether the step has raised the loss."""
        self.rises += loss > self.last
        self.last = loss

    def halve(self, most: float, highest: PerSample) -> Bool[Tensor, "n"]:
        """Halve the steps of samples with at most `most` rises or without progress: which ones."""
        stuck = ~self.halved & (self.highest >= highest)
        self.halved, self.highest = (self.rises <= most) | stuck, highest
        self.step = torch.where(self.halved.view(-1, 1, 1, 1), self.step / 2, self.step)
        self.rises = torch.zeros_like(self.rises)
        return self.halved


def _start(region: Region, rng: Draws) -> Images:
    """A random image on the surface of the ball, clipped."""
    linf = region.norm == "linf"
    drawn = 2 * rng.uniform_like(region.x) - 1 if linf else rng.normal_like(region.x)
    lengths = torch.linalg.vector_norm(drawn, inf if linf else 2, (1, 2, 3), keepdim=True)
    return region.project(region.x + region.epsilon * region.scale * drawn / lengths)


def _visited(model: nn.Module, x: Images, y: Targets) -> tuple[_Point, Bool[Tensor, "n"]]:
    """The loss and its gradient there, and which images are misclassified."""
    logits, gradient = at_images(model, x, y)
    # Copied, because a compiled network may write its next gradient to the same memory.
    point = _Point(x, cross_entropy(logits, y), gradient.clone())
    return point, logits.argmax(1) != y.argmax(1)
