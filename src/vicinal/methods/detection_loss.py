"""A detector's loss: L = L_cls + L_box + L_mask of the regions, and L_cls + L_box of proposals.

Paper:    He, Gkioxari, Dollár, Girshick, Mask R-CNN, ICCV 2017, arXiv 1703.06870; §3 (the sum),
          with that of the region proposals, trained jointly
Code:     pytorch/vision (main) references/detection/engine.py: the sum of the five losses. Not
          compared.
Differs:  nothing known
Cost:     1 forward, 1 backward, 0 updates of BatchNorm, whose statistics are fixed in a detector
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from vicinal.contracts import Loss, Method, Objects, Photos
from vicinal.draws import Rng


@dataclass(frozen=True)
class DetectionLoss(Method):
    """The sum of the detector's losses, each with weight 1."""

    def __call__(self, model: nn.Module, x: Photos, y: Objects, rng: Rng) -> Iterator[Loss]:
        yield total(model(x, y))


def total(losses: Mapping[str, Loss]) -> Loss:
    """Their sum."""
    return torch.stack([each.float() for each in losses.values()]).sum()
