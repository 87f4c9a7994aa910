"""Empirical risk with random blocks of the features in the last residual groups set to zero.

h' = M ⊙ h · |M| / ΣM after every convolution of a block and on its shortcut. The share that is
dropped grows linearly over the training, and is a quarter in each group before the last.

Paper:    Ghiasi, Lin, Le, DropBlock, NeurIPS 2018, arXiv 1810.12890; Alg. 1, Eq. 1 (γ), §3
          "Scheduled DropBlock", §4.1 (groups 3 and 4, shortcuts too; sections are cited from
          memory); its numbers are quoted in GradAug Tables 1 and 2 and MaxUp Table 1
Code:     tensorflow/tpu (commit 7dc921f) models/official/resnet: `dropblock` and `bottleneck_block`
          in resnet_model.py (a mask for each channel of each image; blocks lie within the map, and
          are no larger than it), `resnet_model_fn` in resnet_main.py (keep, 1 - (1 - keep) /
          4^(4 - group)). It drops after a norm and its ReLU, before the sum. Not compared.
Differs:  the groups are counted from the last, as networks for small images have three. The code
          leaves blocks of two convolutions without drops, and pre-activation blocks without one at
          the end of their branch; here they have all. Each rank rescales by its own masks, as each
          TPU core does. `block_size: 1` is dropout; without `shortcuts` it is the paper's, which is
          in the branches only; whether that followed the schedule is not said.
Cost:     1 forward, 1 backward, 1 update of BatchNorm
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from vicinal.contracts import Inputs, Loss, Method, Targets, Vicinity, Wants
from vicinal.draws import Rng, block_rate
from vicinal.losses import cross_entropy
from vicinal.surgery.branches import Block, add_shortcuts, residual_groups
from vicinal.surgery.taps import Action, Features, tap_input, tapped


@dataclass(frozen=True)
class ScheduledDropBlock(Method):
    """Over a vicinity. `keep` is reached at the end, in the last group."""

    wants: ClassVar[Wants] = ("progress",)

    vicinity: Vicinity
    block_size: int = 7
    keep: float = 0.9
    groups: int = 2  # of residual blocks, from the last: 3 and 4 of a ResNet's four
    shortcuts: bool = True
    scheduled: bool = True

    def __post_init__(self) -> None:
        for key in ("block_size", "groups"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, got {getattr(self, key)}")
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep must be above 0 and at most 1, got {self.keep}")

    def prepare(self, model: nn.Module) -> nn.Module:
        """Give shortcuts without a module one, so that they can be tapped."""
        found = len(residual_groups(model))
        if found < self.groups:
            raise ValueError(
                f"method.groups must be at most the stages with residual blocks, got {self.groups} "
                f"for a network with {found}"
            )
        return add_shortcuts(model) if self.shortcuts else model

    def __call__(
        self, model: nn.Module, x: Inputs, y: Targets, rng: Rng, *, progress: float = 1.0
    ) -> Iterator[Loss]:
        x, y = self.vicinity(x, y, rng)
        dropped = 1 - self.keep
        if self.scheduled:
            dropped *= progress
        with ExitStack() as taps:
            for before_last, group in enumerate(reversed(residual_groups(model)[-self.groups :])):
                for block in group:
                    self._tap(model, block, self._drop(dropped / 4**before_last, rng), taps)
            logits = model(x)
        yield cross_entropy(logits, y).mean()

    def _tap(self, model: nn.Module, block: Block, drop: Action, taps: ExitStack) -> None:
        for convolution in block.inner:  # their inputs are normalised and activated already
            taps.enter_context(tap_input(model, convolution, drop))
        outputs = [block.end, block.shortcut] if self.shortcuts else [block.end]
        for name in outputs:
            taps.enter_context(tapped(model, name, drop))

    def _drop(self, gamma: float, rng: Rng) -> Action:
        """Drop this share of the features, approximately, because blocks may overlap."""

        def drop(h: Features) -> Features:
            mask = ~inner_holes(gamma, self.block_size, tuple(h.shape), rng)
            scale = mask.numel() / mask.sum().clamp_min(1).double()
            return h * mask.to(h.dtype).mul_(scale)

        return drop


def inner_holes(
    gamma: float, block_size: int, shape: tuple[int, ...], rng: Rng
) -> Bool[Tensor, "n c h w"]:
    """Blocks at random places where they fit as a whole, no larger than the map; True is a hole."""
    *maps, height, width = shape
    size = min(block_size, height, width)
    places = (*maps, height - size + 1, width - size + 1)
    rate = block_rate(gamma, size, height, width)
    holes = torch.rand(places, generator=rng.device, device=rng.device.device) < rate
    for axis in (2, 3):
        corners, length = holes, holes.shape[axis]
        holes = holes.new_zeros((*maps, height, places[3]) if axis == 2 else shape)
        for step in range(size):
            holes.narrow(axis, step, length).logical_or_(corners)
    return holes
