"""Additive PyramidNet with bottlenecks.

Paper:    Han, Kim, Kim, Deep Pyramidal Residual Networks, CVPR 2017, arXiv 1610.02915
Code:     dyhan0920/PyramidNet-PyTorch PyramidNet.py
Differs:  nothing known
"""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from vicinal.models.arguments import at_least_one, image_channels, num_blocks
from vicinal.models.blocks import pad_channels, pool_shortcut
from vicinal.models.init import he_normal


class PyramidBlock(nn.Module):
    """BN-1x1-BN-ReLU-3x3-BN-ReLU-1x1-BN to 4 `inner` channels, plus the zero-padded input."""

    def __init__(self, in_channels: int, inner: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(inner)
        self.relu3 = nn.ReLU()
        self.conv3 = nn.Conv2d(inner, 4 * inner, 1, bias=False)
        self.bn4 = nn.BatchNorm2d(4 * inner)
        self.shortcut = pool_shortcut(stride)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """The block's sum, not activated."""
        inner = self.relu2(self.bn2(self.conv1(self.bn1(x))))
        branch = self.bn4(self.conv3(self.relu3(self.bn3(self.conv2(inner)))))
        return pad_channels(self.shortcut(x), branch.shape[1]) + branch


class PyramidNet(nn.Module):
    """9n + 2 layers whose width grows by alpha / 3n per block, from 16 to 16 + alpha (times 4)."""

    stages = ("stem", "stage1", "stage2", "stage3")

    def __init__(self, depth: int, alpha: int, *, num_classes: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        n = num_blocks(depth, 9, 2, "three stages of n three-convolution blocks")
        at_least_one(alpha=alpha)
        conv = nn.Conv2d(image_channels(shape), 16, 3, padding=1, bias=False)
        self.stem = nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(16)))
        inner = [round(16 + alpha * i / (3 * n)) for i in range(1, 3 * n + 1)]
        in_channels = [16, *(4 * width for width in inner)]
        blocks = [
            PyramidBlock(in_channels[i], inner[i], 2 if i in (n, 2 * n) else 1)
            for i in range(3 * n)
        ]
        self.stage1 = nn.Sequential(*blocks[:n])
        self.stage2 = nn.Sequential(*blocks[n : 2 * n])
        self.stage3 = nn.Sequential(*blocks[2 * n :])
        self.bn = nn.BatchNorm2d(in_channels[-1])
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(in_channels[-1], num_classes)
        he_normal(self, "fan_out")

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        x = self.stage3(self.stage2(self.stage1(self.stem(x))))
        return self.fc(self.pool(self.relu(self.bn(x))).flatten(1))
