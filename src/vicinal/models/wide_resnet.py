"""Wide residual networks, and the variant on which semi-supervised methods are compared.

Paper:    Zagoruyko, Komodakis, Wide Residual Networks, BMVC 2016, arXiv 1605.07146;
          Oliver et al., Realistic Evaluation of Deep Semi-Supervised Learning Algorithms,
          NeurIPS 2018, arXiv 1804.09170
Code:     szagoruyko/wide-residual-networks models/wide-resnet.lua, utils.lua;
          brain-research/realistic-ssl-evaluation lib/networks.py
Differs:  strided convolutions of Oliver et al. pad below and to the right only (TensorFlow's SAME)
"""

from collections import OrderedDict
from typing import cast, get_args

from jaxtyping import Float
from torch import Tensor, nn

from vicinal.models.arguments import at_least_one, image_channels, num_blocks, one_of
from vicinal.models.blocks import PreActBlock, stage
from vicinal.models.init import Fan, he_normal


class WideResNet(nn.Module):
    """WRN-depth-width: pre-activation stages of 16, 32 and 64 times `width` channels.

    `init` is the fan of the convolutions' initialisation: fan_in in the paper's code, fan_out in
    most ports to PyTorch.
    """

    stages = ("stem", "stage1", "stage2", "stage3")

    def __init__(
        self,
        depth: int,
        width: int,
        init: Fan = "fan_in",
        stem_stride: int = 1,
        *,
        num_classes: int,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        n = num_blocks(depth, 6, 4, "three groups of n two-convolution blocks")
        at_least_one(width=width, stem_stride=stem_stride)
        one_of("init", init, get_args(Fan))
        conv = nn.Conv2d(image_channels(shape), 16, 3, stem_stride, padding=1, bias=False)
        self.stem = nn.Sequential(OrderedDict(conv=conv))
        self.stage1 = stage(PreActBlock, 16, 16 * width, 1, n)
        self.stage2 = stage(PreActBlock, 16 * width, 32 * width, 2, n)
        self.stage3 = stage(PreActBlock, 32 * width, 64 * width, 2, n)
        self.bn = nn.BatchNorm2d(64 * width)
        self.relu: nn.Module = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64 * width, num_classes)
        he_normal(self, init)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        x = self.stage3(self.stage2(self.stage1(self.stem(x))))
        return self.fc(self.pool(self.relu(self.bn(x))).flatten(1))


def oliver(depth: int, width: int, *, num_classes: int, shape: tuple[int, ...]) -> WideResNet:
    """Oliver et al.'s: LeakyReLU, slow norms, Glorot fc; only the first block is shared."""
    network = WideResNet(depth, width, "fan_out", num_classes=num_classes, shape=shape)
    network.relu = nn.LeakyReLU(0.1)
    for module in network.modules():
        if isinstance(module, PreActBlock):
            module.relu1, module.relu2 = nn.LeakyReLU(0.1), nn.LeakyReLU(0.1)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum, module.eps = 0.001, 0.001
    for later in (network.stage2, network.stage3):
        cast(PreActBlock, later[0]).shared = False
    nn.init.xavier_normal_(network.fc.weight)
    return network
