"""Post-activation ResNets for small images.

Paper:    He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, CVPR 2016,
          arXiv 1512.03385, Sec. 4.1 (18 to 152) and 4.2 (6n + 2)
Code:     kuangliu/pytorch-cifar models/resnet.py (18 to 152); junyuseu/pytorch-cifar-models
          models/resnet_cifar.py (6n + 2, and its "wide" form)
Differs:  a 3x3 stem without max-pool replaces the 7x7 one, as in both codes; the 6n + 2 networks
          project with a convolution where He et al. pad; `shortcut=pad` pads, after an average
          pool where they subsample, as in yueatsprograms' code
"""

from collections import OrderedDict
from functools import partial
from typing import get_args

from jaxtyping import Float
from torch import Tensor, nn

from vicinal.models.arguments import at_least_one, image_channels, num_blocks, one_of
from vicinal.models.blocks import BasicBlock, Bottleneck, Shortcut, stage
from vicinal.models.init import he_normal

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class ResNet(nn.Module):
    """ImageNet's four stages behind a 3x3 stem, bottlenecks from 50 layers up; default init."""

    stages = ("stem", "stage1", "stage2", "stage3", "stage4")

    def __init__(
        self,
        depth: int,
        stem_stride: int = 1,
        *,
        num_classes: int,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        one_of("depth", depth, tuple(BLOCKS))
        at_least_one(stem_stride=stem_stride)
        self.stem = conv_bn_relu(image_channels(shape), 64, stem_stride)
        widths = [64, *((64, 128, 256, 512) if depth < 50 else (256, 512, 1024, 2048))]
        stages = [
            stage(
                BasicBlock if depth < 50 else partial(Bottleneck, inner=64 * 2**i),
                widths[i],
                widths[i + 1],
                1 if i == 0 else 2,
                number,
            )
            for i, number in enumerate(BLOCKS[depth])
        ]
        self.stage1, self.stage2, self.stage3, self.stage4 = stages
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        x = self.stage2(self.stage1(self.stem(x)))
        x = self.stage4(self.stage3(x))
        return self.fc(self.pool(x).flatten(1))


class CifarResNet(nn.Module):
    """He et al.'s 6n + 2 layers: three stages of 16, 32 and 64 times `width` channels."""

    stages = ("stem", "stage1", "stage2", "stage3")

    def __init__(
        self,
        depth: int,
        width: int = 1,
        shortcut: Shortcut = "conv",
        *,
        num_classes: int,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        n = num_blocks(depth, 6, 2, "three stages of n two-convolution blocks")
        at_least_one(width=width)
        one_of("shortcut", shortcut, get_args(Shortcut))
        block = partial(BasicBlock, shortcut=shortcut)
        self.stem = conv_bn_relu(image_channels(shape), 16)
        self.stage1 = stage(block, 16, 16 * width, 1, n)
        self.stage2 = stage(block, 16 * width, 32 * width, 2, n)
        self.stage3 = stage(block, 32 * width, 64 * width, 2, n)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64 * width, num_classes)
        he_normal(self, "fan_out")

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        x = self.stage3(self.stage2(self.stage1(self.stem(x))))
        return self.fc(self.pool(x).flatten(1))


def conv_bn_relu(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """The stem of post-activation networks."""
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels), relu=nn.ReLU()))
