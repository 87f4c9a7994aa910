"""The wide residual network of the meliketoy/wide-resnet.pytorch lineage.

Paper:    Zagoruyko, Komodakis, Wide Residual Networks, BMVC 2016, arXiv 1605.07146
Code:     chandar-lab's models/wide_resnet.py (configs/model/wrn28_10_meliketoy.yaml)
Differs:  from the paper's network (wide_resnet.py), as the code does: convolutions have biases, the
          second convolution of a stage's first block carries the stride, projections start at the
          raw x, the last norm averages with momentum 0.9, initialisation is PyTorch's default
"""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from vicinal.models.arguments import at_least_one, image_channels, num_blocks
from vicinal.models.blocks import stage


class BiasedBlock(nn.Module):
    """A pre-activation block whose convolutions have biases and whose second one is strided."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride, padding=1)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """The block's sum, not activated."""
        branch = self.conv1(self.relu1(self.bn1(x)))
        return self.shortcut(x) + self.conv2(self.relu2(self.bn2(branch)))


class MeliketoyWideResNet(nn.Module):
    """Three stages of 16, 32 and 64 times `width` channels, then BN-ReLU."""

    stages = ("stem", "stage1", "stage2", "stage3")

    def __init__(
        self,
        depth: int,
        width: int,
        stem_stride: int = 1,
        *,
        num_classes: int,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        n = num_blocks(depth, 6, 4, "three groups of n two-convolution blocks")
        at_least_one(width=width, stem_stride=stem_stride)
        conv = nn.Conv2d(image_channels(shape), 16, 3, stem_stride, padding=1)
        self.stem = nn.Sequential(OrderedDict(conv=conv))
        self.stage1 = stage(BiasedBlock, 16, 16 * width, 1, n)
        self.stage2 = stage(BiasedBlock, 16 * width, 32 * width, 2, n)
        self.stage3 = stage(BiasedBlock, 32 * width, 64 * width, 2, n)
        self.bn = nn.BatchNorm2d(64 * width, momentum=0.9)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64 * width, num_classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        x = self.stage3(self.stage2(self.stage1(self.stem(x))))
        return self.fc(self.pool(self.relu(self.bn(x))).flatten(1))
