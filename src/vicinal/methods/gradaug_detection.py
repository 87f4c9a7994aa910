"""GradAug in a detector: L(N(x), y) + Σ_i L(N_wi(T(x)), T(y)), where only the trunk is narrowed.

Paper:    Yang, Zhu, Chen, GradAug, NeurIPS 2020, arXiv 2006.07989; §4.4, Table 7 (last row), Alg. 1
          (the sum). The details are in a supplement that was not available to us.
Code:     none released for detection
Differs:  all but the sum is our reading. Sub-networks share the pyramid and the heads, whose first
          layers take the channels that arrive. They learn the annotated objects: the boxes that a
          detector's soft labels would be about differ from pass to pass. T is the resize of the
          batch to one of the sizes, drawn for each sub-network and equal on all ranks; the full
          size is among them. The trunk's BatchNorm is fixed at a width of 1; narrower, it
          normalises by the batch, as GradAug does, with the fixed weight and bias
Cost:     num_subnets + 1 forwards, num_subnets + 1 backwards, 0 updates of BatchNorm; the loss
          comes in num_subnets + 1 terms, so that one network's activations are held at a time
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.contracts import Detector, Loss, Method, Objects, Photos
from vicinal.draws import Rng, shared_choice
from vicinal.methods.detection_loss import total
from vicinal.methods.gradaug import check_widths, widths
from vicinal.surgery.slimmable import check_slimmable, narrowed, untuned

Resized = Float[Tensor, "n 3 height2 width2"]


@dataclass(frozen=True)
class GradAugDetection(Method):
    """`scales` are shares of the photos' sides."""

    num_subnets: int = 3
    alpha: float = 0.9
    smallest: bool = True
    scales: Sequence[float] = (1.0, 0.8333, 0.6667, 0.5)

    def __post_init__(self) -> None:
        check_widths(self.num_subnets, self.alpha)
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(
                f"scales must be positive shares of the photos' sides, got {list(self.scales)} "
                "([1] keeps the size)"
            )

    @property
    def work(self) -> float:
        return self.num_subnets + 1

    def prepare(self, model: nn.Module) -> nn.Module:
        """Unchanged, once checked that its trunk can be narrowed."""
        assert isinstance(model, Detector)  # the data refuse others
        check_slimmable(model.trunk, classifies=False)
        return model

    def __call__(self, model: nn.Module, x: Photos, y: Objects, rng: Rng) -> Iterator[Loss]:
        assert isinstance(model, Detector)
        yield total(model(x, y))
        for width in widths(self.num_subnets, self.alpha, self.smallest, rng):
            scale = self.scales[shared_choice(range(len(self.scales)), rng)]
            x_i, y_i = rescaled(x, y, scale)
            with untuned(shapes_are_new=width not in (1, self.alpha)):
                with narrowed(model.trunk, width, classifies=False):
                    levels = model.levels(x_i, y_i.sizes)
                yield total(model.losses(levels, x_i, y_i))


def rescaled(x: Photos, y: Objects, scale: float) -> tuple[Resized, Objects]:
    """The photos and their objects at this share of their size."""
    if scale == 1:
        return x, y
    size = [max(1, round(scale * side)) for side in x.shape[2:]]
    down, right = (new / old for new, old in zip(size, x.shape[2:], strict=True))
    masks = F.interpolate(y.masks[:, None].float(), size, mode="bilinear", antialias=False)[:, 0]
    factors = torch.tensor([right, down, right, down], dtype=y.boxes.dtype)
    objects = replace(
        y,
        boxes=y.boxes * factors.to(y.boxes.device, non_blocking=True),
        masks=(masks >= 0.5).to(y.masks.dtype),
        sizes=tuple((max(1, round(h * down)), max(1, round(w * right))) for h, w in y.sizes),
    )
    return F.interpolate(x, size, mode="bilinear"), objects
