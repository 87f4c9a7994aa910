"""Empirical risk with random blocks of the features after some layers set to zero.

h' = M ⊙ h · |M| / ΣM, at each of `layers` in every step; M is drawn per sample.

Paper:    Ghiasi, Lin, Le, DropBlock, NeurIPS 2018, arXiv 1810.12890; Alg. 1, Eq. 1 (γ); as it is
          compared with in Faramarzi et al., PatchUp, AAAI 2022, arXiv 2006.07794; Tables 1, 2
Code:     chandar-lab/PatchUp (commit 31133f3) modules/drop_block.py. Compared step by step in
          float64, at layers 1 and 2: everything within 1e-15.
Differs:  from the paper as PatchUp's code does: a mask for each channel, seeds at every position
          and blocks clipped at the borders, no schedule of the keep probability. From the code:
          γ is computed for each layer, not once for the first layer met. |M| / ΣM is taken over all
          samples and channels, as Alg. 1 writes it.
Cost:     1 forward, 1 backward, 1 update of BatchNorm
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from torch import nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity
from vicinal.draws import Rng, block_holes
from vicinal.losses import LOSSES, LossName
from vicinal.surgery.taps import Features, add_seams, tapped


@dataclass(frozen=True)
class DropBlock(Method):
    """Over a vicinity. Blocks may overlap, so more than 1 - `keep` of a map can be zero."""

    vicinity: Vicinity
    block_size: int = 7
    keep: float = 0.9
    layers: Sequence[int] = (1, 2)  # 1 is the stem's output, 2 the first stage's
    loss: LossName = "ce"

    def __post_init__(self) -> None:
        if self.block_size < 1 or self.block_size % 2 == 0:
            raise ValueError(
                f"block_size must be odd, got {self.block_size} (a block has a centre)"
            )
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep must be above 0 and at most 1, got {self.keep}")
        if not self.layers or min(self.layers) < 1:
            raise ValueError(
                f"layers must be numbers from 1 (the stem's output) up, got {self.layers} "
                "(cutout drops blocks of the input)"
            )

    def prepare(self, model: nn.Module) -> nn.Module:
        """Add seams after the layers, once checked that there are such."""
        return add_seams(model, self.layers)

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        with ExitStack() as taps:
            for layer in self.layers:
                taps.enter_context(tapped(model, layer, lambda h: self._dropped(h, rng)))
            logits = model(x)
        yield LOSSES[self.loss](logits, y).mean()

    def _dropped(self, h: Features, rng: Rng) -> Features:
        mask = ~block_holes(1 - self.keep, self.block_size, tuple(h.shape), rng)
        scale = mask.numel() / mask.sum().clamp_min(1).double()
        return h * mask.to(h.dtype).mul_(scale)
