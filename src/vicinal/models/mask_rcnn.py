"""Mask R-CNN with a feature pyramid, on any classifier whose stages follow one another.

Paper:    He, Gkioxari, Dollár, Girshick, Mask R-CNN, ICCV 2017, arXiv 1703.06870; Lin et al.,
          Feature Pyramid Networks, CVPR 2017, arXiv 1612.03144
Code:     torchvision.models: its pyramid, region proposals and heads, with its settings; its
          transform is not in use, as the data resize and the trunk normalises
Differs:  the detectors of our tables are MMDetection's. Both codes follow the papers, and differ in
          details such as the loss of boxes and the number of proposals. In the trunk no BatchNorm
          is trained, and its statistics are fixed (MMDetection trains its weight and bias in the
          later stages, as we remember it)
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from vicinal.contracts import Detector, Found, Levels, Loss, Objects, Photos
from vicinal.models.arguments import at_least_one, image_channels
from vicinal.models.normalized import Normalize

NUM_LEVELS = 4  # of the trunk
STRIDE = 32  # of the coarsest level: inputs are padded to its multiples
TINY = (1, 3, 64, 64)
POSITIVE = 4  # of the regions that the heads see in training, at most one in so many is an object

Sizes = tuple[tuple[int, int], ...]
Padded = Float[Tensor, "n 3 _ _"]


class Stages(nn.Module):
    """The children of a network up to its last stage, one after another."""

    def __init__(self, children: dict[str, nn.Module], taken: tuple[str, ...]) -> None:
        super().__init__()
        self.taken = taken
        for name, module in children.items():
            self.add_module(name, module)

    def forward(self, x: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """The outputs of the stages."""
        found = []
        for name, module in self.named_children():
            x = module(x)
            if name in self.taken:
                found.append(x)
        return found


class Trunk(nn.Module):
    """A classifier up to its last stage, behind its normalisation.

    Its tensors have the classifier's names, so that it can begin with that one's weights. BatchNorm
    always normalises by its running statistics, and is not trained.
    """

    def __init__(self, network: nn.Module, frozen_stages: int) -> None:
        super().__init__()
        children, taken = _pyramidal(network)
        self.normalize: nn.Module = nn.Identity()
        self.body = Stages(children, taken)
        frozen = list(children)[: list(children).index(taken[frozen_stages - 1]) + 1]
        for name in frozen if frozen_stages else ():
            children[name].requires_grad_(False)
        for norm in self._norms():
            norm.requires_grad_(False)

    def forward(self, x: Float[Tensor, "n c h w"], sizes: Sizes = ()) -> list[Tensor]:
        """The outputs of the stages; beyond a photo's size its normalised pixels are 0."""
        x = self.normalize(x)
        if any(size != x.shape[2:] for size in sizes):
            x = x.clone()
            for each, (height, width) in zip(x, sizes, strict=True):
                each[:, height:] = 0
                each[:, :, width:] = 0
        return self.body(x)

    def train(self, mode: bool = True) -> "Trunk":
        """Switch all layers but BatchNorm."""
        super().train(mode)
        for norm in self._norms():
            norm.eval()
        return self

    def _norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]


class MaskRcnn(Detector):
    """torchvision's heads on a trunk, whose stem and first `frozen_stages` are not trained."""

    def __init__(
        self,
        backbone: Callable[..., nn.Module],
        frozen_stages: int = 1,
        width: int = 256,
        hidden: int = 1024,
        proposals: int = 2000,
        regions: int = 512,
        *,
        num_classes: int,
        shape: tuple[int, ...],
    ) -> None:
        # To name a run only the signature above is needed, and torchvision is slow to import.
        from vicinal.models import torchvision_detection as torchvisions  # noqa: PLC0415

        super().__init__()
        image_channels(shape)
        at_least_one(width=width, hidden=hidden, proposals=proposals, regions=regions)
        if not 0 <= frozen_stages <= NUM_LEVELS:
            raise ValueError(f"frozen_stages must be in 0 .. {NUM_LEVELS}, got {frozen_stages}")
        self.network = Trunk(backbone(num_classes=2, shape=shape), frozen_stages)
        with torch.no_grad():
            maps = self.network.eval()(torch.zeros(TINY))
        self.network.train()
        widths = [each.shape[1] for each in maps]
        self.pyramid = torchvisions.pyramid(widths, width)
        sizes = torchvisions.Sizes(width, hidden, proposals, regions)
        self.width, self.regions = width, regions
        self.proposals, self.heads = torchvisions.heads(sizes, num_classes)
        self.batch = torchvisions.batch
        self.stages = tuple(f"network.body.{name}" for name in self.network.body.taken)

    @property
    def trunk(self) -> Trunk:
        return self.network

    def normalized(self, mean: Sequence[float], std: Sequence[float]) -> "MaskRcnn":
        self.network.normalize = Normalize(mean, std)
        return self

    def compile(self, *args: object, **settings: object) -> None:
        """Compile the stages alone: what the heads compute depends on what is found."""
        self.network.body.compile(*args, **settings)  # pyright: ignore[reportArgumentType]

    def levels(self, x: Photos, sizes: Sizes) -> Levels:
        """In at least float32: boxes are computed from them, in pixels."""
        maps = self.network(_padded(x), sizes)
        found = self.pyramid({str(number): each for number, each in enumerate(maps)})
        return {
            name: each.to(torch.promote_types(each.dtype, torch.float32))
            for name, each in found.items()
        }

    def losses(self, levels: Levels, x: Photos, y: Objects) -> dict[str, Loss]:
        images, targets = self.batch(_padded(x), y.sizes), _targets(y, levels)
        regions, of_regions = self.proposals(images, levels, targets)
        _, of_heads = self.heads(levels, regions, images.image_sizes, targets)
        return {**of_regions, **of_heads}

    def forward(self, x: Photos, y: Objects | None = None) -> dict[str, Loss] | list[Found]:
        whole = cast(tuple[int, int], tuple(x.shape[2:]))
        sizes = (whole,) * len(x) if y is None else y.sizes
        levels = self.levels(x, sizes)
        if self.training:
            assert y is not None
            return self.losses(levels, x, y)
        images = self.batch(_padded(x), sizes)
        regions, _ = self.proposals(images, levels)
        found, _ = self.heads(levels, regions, images.image_sizes)
        return [Found(e["boxes"], e["labels"] - 1, e["scores"], e["masks"]) for e in found]

    def dense(self, x: Photos) -> None:
        levels = self.levels(x, ())
        cast(nn.Module, self.proposals.head)(list(levels.values()))
        heads: Any = self.heads
        count = self.regions * len(x)
        heads.box_predictor(heads.box_head(x.new_zeros(count, self.width, 7, 7)))
        objects = x.new_zeros(count // POSITIVE, self.width, 14, 14)
        heads.mask_predictor(heads.mask_head(objects))


def _pyramidal(network: nn.Module) -> tuple[dict[str, nn.Module], tuple[str, ...]]:
    """The layers of a network up to its last stage by name, and the names of its last stages."""
    stages = cast(tuple[str, ...], network.stages)[-NUM_LEVELS:]
    parents = {stage.rpartition(".")[0] for stage in stages}
    children = dict(network.get_submodule(parents.pop()).named_children()) if stages else {}
    taken = tuple(stage.rpartition(".")[2] for stage in stages)
    if parents or len(taken) < NUM_LEVELS:
        raise ValueError(
            f"backbone must be a network of {NUM_LEVELS} stages that follow one another, as a "
            f"ResNet, got one of {', '.join(stages) or 'none'}"
        )
    kept = list(children)[: list(children).index(taken[-1]) + 1]
    return {name: children[name] for name in kept}, taken


def _padded(x: Photos) -> Padded:
    """Padded to whole strides: anchors are placed by whole numbers of pixels."""
    height, width = (-side % STRIDE for side in x.shape[2:])
    return F.pad(x, (0, width, 0, height)) if height or width else x


def _targets(y: Objects, levels: Levels) -> list[dict[str, Tensor]]:
    """As torchvision wants them; its class 0 is the background."""
    like = next(iter(levels.values()))
    split = zip(*(e.split(y.counts) for e in (y.boxes, y.labels, y.masks)), strict=True)
    return [
        {"boxes": boxes.to(like.dtype), "labels": labels + 1, "masks": masks}
        for boxes, labels, masks in split
    ]
