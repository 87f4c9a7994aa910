"""The base augmentation of small images: a random crop of the padded image, mirrored half the time.

Paper:    every CIFAR experiment of the five papers; padding and its mode differ (see the fact
          sheets: zero-pad 4 in mixup, MaxUp, AugMax; zero-pad 2 in PatchUp; reflect-pad 4 in
          GradAug and in the original WRN)
Code:     torchvision RandomCrop(padding) and RandomHorizontalFlip, which the authors call. Compared
          for given offsets and coins: images equal.
Differs:  nothing known; drawn for the whole batch at once instead of image by image. PatchUp's
          code flips first, which has the same distribution.
Cost:     nothing beyond its method
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional as F

from vicinal.contracts import Images, Targets, Vicinity
from vicinal.draws import Rng, coins


@dataclass(frozen=True)
class CropFlip(Vicinity):
    """One offset and one coin per image; `zeros` pads with black, in pixel space."""

    padding: int = 4
    mode: Literal["zeros", "reflect"] = "zeros"
    flip: bool = True

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ValueError(f"padding must be at least 0, got {self.padding}")

    def __call__(self, x: Images, y: Targets, rng: Rng) -> tuple[Images, Targets]:
        if self.padding:
            x = self._crop(x, rng)
        if self.flip:
            mirrored = coins(0.5, len(x), rng).to(x.device, non_blocking=True)
            x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(-1), x)
        return x, y

    def _crop(self, x: Images, rng: Rng) -> Images:
        count, _, height, width = x.shape
        mode = "constant" if self.mode == "zeros" else self.mode
        padded = F.pad(x, [self.padding] * 4, mode=mode)
        offsets = torch.randint(2 * self.padding + 1, (2, count), generator=rng.cpu)
        top, left = offsets.to(x.device, non_blocking=True)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: n c top left h w
        rows = torch.arange(count, device=x.device)
        return windows[rows, :, top, left]
