"""Pre-activation ResNets for small images.

Paper:    He, Zhang, Ren, Sun, Identity Mappings in Deep Residual Networks, ECCV 2016,
          arXiv 1603.05027
Code:     kuangliu/pytorch-cifar models/preact_resnet.py and a variant of it that
          configs/model/preact_resnet18.yaml names (18, 34);
          junyuseu/pytorch-cifar-models models/resnet_cifar.py (110)
Differs:  18 and 34 have no BN-ReLU before the pool, unlike He et al. and like both codes
"""

from collections import OrderedDict
from functools import partial
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from vicinal.models.arguments import at_least_one, image_channels, num_blocks, one_of
from vicinal.models.blocks import PreActBlock, stage
from vicinal.models.init import he_normal

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
Identity = Literal["raw", "activated"]
Stem = Literal["conv", "conv_bn_relu"]


class PreActResNet(nn.Module):
    """Four stages of 64 to 512 channels behind a 3x3 stem; PyTorch's default initialisation.

    `identity` is where shortcuts without a projection start: at the raw x as in He et al., or at
    ReLU(BN1(x)). The two options together, activated and conv_bn_relu, are the variant.
    """

    stages = ("stem", "stage1", "stage2", "stage3", "stage4")

    def __init__(
        self,
        depth: int,
        identity: Identity = "raw",
        stem: Stem = "conv",
        stem_stride: int = 1,
        *,
        num_classes: int,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        one_of("depth", depth, tuple(BLOCKS))
        one_of("identity", identity, get_args(Identity))
        one_of("stem", stem, get_args(Stem))
        at_least_one(stem_stride=stem_stride)
        layers = OrderedDict[str, nn.Module](
            conv=nn.Conv2d(image_channels(shape), 64, 3, stem_stride, padding=1, bias=False)
        )
        if stem == "conv_bn_relu":
            layers.update(bn=nn.BatchNorm2d(64), relu=nn.ReLU())
        self.stem = nn.Sequential(layers)
        block = partial(PreActBlock, shared=True if identity == "activated" else None)
        first, second, third, fourth = BLOCKS[depth]
        self.stage1 = stage(block, 64, 64, 1, first)
        self.stage2 = stage(block, 64, 128, 2, second)
        self.stage3 = stage(block, 128, 256, 2, third)
        self.stage4 = stage(block, 256, 512, 2, fourth)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        x = self.stage2(self.stage1(self.stem(x)))
        x = self.stage4(self.stage3(x))
        return self.fc(self.pool(x).flatten(1))


class CifarPreActResNet(nn.Module):
    """He et al.'s 6n + 2 layers: three stages of 16, 32 and 64 channels, then BN-ReLU."""

    stages = ("stem", "stage1", "stage2", "stage3")

    def __init__(self, depth: int, *, num_classes: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        n = num_blocks(depth, 6, 2, "three stages of n two-convolution blocks")
        conv = nn.Conv2d(image_channels(shape), 16, 3, padding=1, bias=False)
        self.stem = nn.Sequential(OrderedDict(conv=conv))
        self.stage1 = stage(PreActBlock, 16, 16, 1, n)
        self.stage2 = stage(PreActBlock, 16, 32, 2, n)
        self.stage3 = stage(PreActBlock, 32, 64, 2, n)
        self.bn = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)
        he_normal(self, "fan_out")

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        x = self.stage3(self.stage2(self.stage1(self.stem(x))))
        return self.fc(self.pool(self.relu(self.bn(x))).flatten(1))
