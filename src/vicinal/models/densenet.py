"""DenseNet with bottlenecks and compression.

Paper:    Huang, Liu, van der Maaten, Weinberger, Densely Connected Convolutional Networks,
          CVPR 2017, arXiv 1608.06993
Code:     andreasveit/densenet-pytorch densenet.py
Differs:  nothing known
"""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vicinal.models.arguments import at_least_one, image_channels, num_blocks
from vicinal.models.init import he_normal


class DenseLayer(nn.Module):
    """Appends `growth` channels: BN-ReLU-1x1 to 4 growth, BN-ReLU-3x3 to growth."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """The input's channels, then the new ones."""
        inner = self.conv1(self.relu1(self.bn1(x)))
        return torch.cat([x, self.conv2(self.relu2(self.bn2(inner)))], 1)


class DenseNetBC(nn.Module):
    """6n + 4 layers: three dense blocks of n two-convolution layers, halved in between.

    A stage is a dense block; the transition between two stages is a module of its own, so a
    stage's output is its last layer's concatenation.
    """

    stages = ("stem", "stage1", "stage2", "stage3")

    def __init__(
        self, depth: int, growth: int, *, num_classes: int, shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        n = num_blocks(depth, 6, 4, "three dense blocks of n two-convolution layers")
        at_least_one(growth=growth)
        channels = 2 * growth
        conv = nn.Conv2d(image_channels(shape), channels, 3, padding=1, bias=False)
        self.stem = nn.Sequential(OrderedDict(conv=conv))
        self.stage1, channels = dense_block(channels, growth, n)
        self.transition1, channels = transition(channels)
        self.stage2, channels = dense_block(channels, growth, n)
        self.transition2, channels = transition(channels)
        self.stage3, channels = dense_block(channels, growth, n)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        he_normal(self, "fan_out")
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        x = self.transition1(self.stage1(self.stem(x)))
        x = self.stage3(self.transition2(self.stage2(x)))
        return self.fc(self.pool(self.relu(self.bn(x))).flatten(1))


def dense_block(in_channels: int, growth: int, num_layers: int) -> tuple[nn.Sequential, int]:
    """`num_layers` dense layers, and the last one's output channels."""
    layers = (DenseLayer(in_channels + i * growth, growth) for i in range(num_layers))
    return nn.Sequential(*layers), in_channels + num_layers * growth


def transition(in_channels: int) -> tuple[nn.Sequential, int]:
    """BN-ReLU-1x1-pool to half the channels (compression 0.5), and their number."""
    half = in_channels // 2
    layers = OrderedDict[str, nn.Module](
        bn=nn.BatchNorm2d(in_channels),
        relu=nn.ReLU(),
        conv=nn.Conv2d(in_channels, half, 1, bias=False),
        pool=nn.AvgPool2d(2),
    )
    return nn.Sequential(layers), half
