"""AugMax's spatial attack: of several random rotations and shifts, the one with the largest loss.

The network is in eval mode and records no statistics; nothing is differentiated.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from vicinal.contracts import Images, Targets
from vicinal.draws import Rng
from vicinal.images.affine import inverses, nearest
from vicinal.losses import cross_entropy
from vicinal.surgery.modes import evaluating

Moves = Float64[Tensor, "n draws 3"]  # degrees, pixels to the right, pixels down


@dataclass(frozen=True)
class WorstAffine:
    """The worst of k = `draws` draws per sample; among equals the first wins.

    The angle is uniform up to `degrees`. A shift is uniform up to the share `shift` of its axis,
    then rounded to whole pixels, so the largest are half as likely as the others. Pixels are the
    nearest ones, black outside. The image itself is not among the draws.

    Wang et al., AugMax, NeurIPS 2021, arXiv 2110.13771, §4.4; torchvision's RandomAffine in
    VITA-Group/AugMax (commit 176acdb) test.py, after Engstrom et al., ICML 2019, arXiv 1712.02779.
    """

    draws: int = 10
    degrees: float = 30.0
    shift: float = 3 / 32

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, got {self.draws} (the worst counts)")
        if not 0 <= self.degrees <= 180:
            raise ValueError(f"degrees must be from 0 to 180, got {self.degrees}")
        if not 0 <= self.shift <= 1:
            raise ValueError(f"shift must be from 0 to 1, got {self.shift} (a share of each axis)")

    def __call__(self, model: nn.Module, x: Images, y: Targets, rng: Rng) -> Images:
        return self.worst(model, x, y, self.drawn(len(x), x.shape[2], x.shape[3], rng))

    def drawn(self, count: int, height: int, width: int, rng: Rng) -> Moves:
        """The moves of `count` images of this size."""
        reach = torch.tensor([self.degrees, self.shift * width, self.shift * height]).double()
        uniform = torch.rand(count, self.draws, 3, dtype=torch.float64, generator=rng.cpu)
        moves = (2 * uniform - 1) * reach
        moves[..., 1:] = moves[..., 1:].round()
        return moves

    @torch.no_grad()
    def worst(self, model: nn.Module, x: Images, y: Targets, moves: Moves) -> Images:
        """Each image by the move of its own that raises its loss most."""
        first, *others = moves.unbind(1)
        worst = _moved(x, first)
        with evaluating(model):
            most = cross_entropy(model(worst), y)
            for move in others:
                images = _moved(x, move)
                losses = cross_entropy(model(images), y)
                higher = losses > most
                most = torch.where(higher, losses, most)
                worst = torch.where(higher.view(-1, 1, 1, 1), images, worst)
        return worst


def _moved(x: Images, move: Float64[Tensor, "n 3"]) -> Images:
    height, width = x.shape[2:]
    upright = torch.zeros(len(x), dtype=torch.float64)
    centre = (width / 2, height / 2)
    return nearest(x, inverses(move[:, 0], upright, 1.0, move[:, 1:], centre))
