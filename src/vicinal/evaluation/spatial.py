"""Accuracy under AugMax's spatial attack: the worst of random rotations and shifts of each image.

Paper:    Wang et al., AugMax, NeurIPS 2021, arXiv 2110.13771; §4.4, Table 11 (CIFAR10-STA)
Code:     VITA-Group/AugMax (commit 176acdb) test.py, which attacks its first batch only: the first
          1,000 test images
Differs:  the draws follow from the seed; the code's depend on the workers of its loader
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from vicinal.attacks.affine import WorstAffine
from vicinal.contracts import Inputs
from vicinal.data.dataset import Data
from vicinal.data.split import Labels, Rows
from vicinal.draws import Rng
from vicinal.evaluation.batches import check_batch_size, check_image_data, hits_of_all
from vicinal.evaluation.evaluation import Numbers, Parts, each


@dataclass(frozen=True)
class Spatial:
    """Top-1 in percent on every test image, and on the `first` ones where there are more.

    An image's draws depend on its row and the seed alone.
    """

    draws: int = 10
    degrees: float = 30.0
    shift: float = 3 / 32  # of each axis
    first: int | None = 1000
    batch_size: int = 1000

    def __post_init__(self) -> None:
        _ = self.attack  # checks its own settings
        if self.first is not None and self.first < 1:
            raise ValueError(f"first must be at least 1, got {self.first} (or null, for none)")
        check_batch_size(self.batch_size)

    @property
    def attack(self) -> WorstAffine:
        """The search for the worst draw."""
        return WorstAffine(self.draws, self.degrees, self.shift)

    def passes(self, images: int) -> int | None:
        """Of every draw, and of the worst."""
        return images * (self.draws + 1)

    def __call__(self, model: nn.Module, data: Data, rng: Rng, parts: Parts = each) -> Numbers:
        check_image_data(data)
        _, height, width = data.test.shape
        moves = self.attack.drawn(len(data.test), height, width, rng.fork("moves"))

        def is_hit(x: Inputs, y: Labels, rows: Rows) -> torch.Tensor:
            targets = F.one_hot(y, data.num_classes).to(x)
            return model(self.attack.worst(model, x, targets, moves[rows])).argmax(1) == y

        hits = 100 * hits_of_all(model, data.test, self.batch_size, is_hit)
        numbers = {"top1": hits.mean().item()}
        if self.first is not None and self.first < len(hits):
            numbers[f"first_{self.first}_top1"] = hits[: self.first].mean().item()
        return numbers
