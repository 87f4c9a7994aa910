"""What torchvision has of Mask R-CNN: its pyramid, region proposals and heads."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool


class Sizes(NamedTuple):
    """Of the heads, and how many regions they see."""

    width: int
    hidden: int
    proposals: int
    regions: int


class _OfWidth(nn.Module):
    """Stands for a backbone where torchvision only asks for its width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_channels = width


def batch(x: Tensor, sizes: Sequence[tuple[int, int]]) -> ImageList:
    """Padded images with their own sizes."""
    return ImageList(x, list(sizes))


def pyramid(widths: list[int], width: int) -> FeaturePyramidNetwork:
    """On stages of these widths."""
    return FeaturePyramidNetwork(widths, width, LastLevelMaxPool())


def heads(sizes: Sizes, num_classes: int) -> tuple[nn.Module, nn.Module]:
    """Region proposals, and what classifies, moves and masks them."""
    width, found = sizes.width, num_classes + 1  # with the background
    whole = MaskRCNN(
        _OfWidth(width),
        rpn_pre_nms_top_n_train=sizes.proposals,
        rpn_post_nms_top_n_train=sizes.proposals,
        rpn_pre_nms_top_n_test=sizes.proposals // 2,
        rpn_post_nms_top_n_test=sizes.proposals // 2,
        box_head=TwoMLPHead(width * 7**2, sizes.hidden),
        box_predictor=FastRCNNPredictor(sizes.hidden, found),
        box_batch_size_per_image=sizes.regions,
        mask_head=MaskRCNNHeads(width, (width,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(width, width, found),
    )
    return whole.rpn, whole.roi_heads
