"""Square Attack: random search without gradients; a random square is kept if it lowers the margin.

margin = f_y(x') - max of the other logits; x' changes by ±2ε, per channel, in a square of share p.

Paper:    Andriushchenko et al., ECCV 2020, arXiv 1912.00049; Alg. 1 and 2 (Linf), §3 (stripes)
Code:     fra31/auto-attack (commit a392200) square.py, with the loss `margin`
Differs:  as in the paper, the schedule of p is stretched to the number of queries, and squares may
          touch the last row and column; AutoAttack cuts a schedule of 10,000 queries off at 5,000,
          and its squares never touch them. It also draws one square per batch, we one per sample
Cost:     `queries` + 1 forwards
"""

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vicinal.attacks.attack import check_images, margins
from vicinal.attacks.threat import Threat
from vicinal.contracts import Images, Targets
from vicinal.draws import Draws
from vicinal.surgery.modes import evaluating

# p is halved after each of these queries, of 10,000
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass(frozen=True)
class Square:
    """The image with the lowest margin of a random search; only for Linf.

    A sample that is misclassified changes no more. Those are masked, not left out, so that the
    attack never waits for the device: a query costs the same however many still stand.
    """

    threat: Threat
    queries: int = 5000
    p_init: float = 0.8

    def __post_init__(self) -> None:
        if self.threat.norm != "linf":
            raise ValueError(
                f"threat.norm must be linf, got {self.threat.norm} (squares are of the Linf attack)"
            )
        self.threat.check_bounded("squares change by 2ε")
        if self.queries < 1:
            raise ValueError(f"queries must be at least 1, got {self.queries}")
        if not 0 < self.p_init <= 1:
            raise ValueError(
                f"p_init must be above 0 and at most 1, got {self.p_init} (a share of the image)"
            )

    @property
    def passes(self) -> int:
        """Forward passes per image; a backward pass takes as long as two."""
        return self.queries + 1

    @torch.no_grad()
    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Draws) -> Images:
        check_images(x)
        region = self.threat.around(model, x)
        reach = region.epsilon * region.scale
        stripes = _signs(rng.uniform_like(x[:, :, :1]))
        draws = rng.uniform_like(x.new_empty(len(x), self.queries, 2 + x.shape[1]))
        with evaluating(model):
            best = region.project(x + reach * stripes)
            least = margins(model(best), y)
            for query, drawn in enumerate(draws.unbind(1)):
                shift = 2 * reach * _squares(drawn, self._side(query, x), x)
                moved = region.project(best + shift)
                found = margins(model(moved), y)
                better = (least >= 0) & (found < least)
                best = torch.where(better.view(-1, 1, 1, 1), moved, best)
                least = torch.where(better, found, least)
        return best

    def _side(self, query: int, x: Images) -> int:
        """The side of the square of this query, in pixels."""
        height, width = x.shape[2:]
        done = int(query / self.queries * 10_000)
        p = self.p_init / 2 ** sum(done > halving for halving in HALVINGS)
        return min(max(round(sqrt(p * height * width)), 1), height, width)


def _squares(drawn: Float[Tensor, "n drawn"], side: int, x: Images) -> Images:
    """Per sample a square at a uniform place, with a random sign per channel; 0 outside."""
    inside = []
    for axis, size in enumerate(x.shape[2:]):
        first = (drawn[:, axis, None] * (size - side + 1)).floor()
        places = torch.arange(size, device=x.device)
        inside.append((first <= places) & (places < first + side))
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return square * _signs(drawn[:, 2:, None, None])


def _signs(uniform: Tensor) -> Tensor:
    return torch.where(uniform < 0.5, -1.0, 1.0).to(uniform)
