"""ResNeXt for CIFAR.

Paper:    Xie et al., Aggregated Residual Transformations for Deep Neural Networks, CVPR 2017,
          arXiv 1611.05431
Code:     google-research's third_party/ResNeXt_DenseNet/models/resnext.py
          (configs/model/resnext29.yaml)
Differs:  nothing known from the code; the paper's own CIFAR network is 8x64d
"""

from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from vicinal.models.arguments import at_least_one, image_channels, num_blocks
from vicinal.models.blocks import Bottleneck, stage
from vicinal.models.init import he_normal
from vicinal.models.resnet import conv_bn_relu


class ResNeXt(nn.Module):
    """9n + 2 layers: three stages of 256, 512 and 1024 channels around grouped bottlenecks.

    A bottleneck of the first stage has `cardinality` groups of `base_width` channels.
    """

    stages = ("stem", "stage1", "stage2", "stage3")

    def __init__(
        self,
        depth: int,
        cardinality: int,
        base_width: int,
        *,
        num_classes: int,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        n = num_blocks(depth, 9, 2, "three stages of n three-convolution blocks")
        at_least_one(cardinality=cardinality, base_width=base_width)
        block = partial(Bottleneck, groups=cardinality)
        inner = cardinality * base_width
        self.stem = conv_bn_relu(image_channels(shape), 64)
        self.stage1 = stage(partial(block, inner=inner), 64, 256, 1, n)
        self.stage2 = stage(partial(block, inner=2 * inner), 256, 512, 2, n)
        self.stage3 = stage(partial(block, inner=4 * inner), 512, 1024, 2, n)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1024, num_classes)
        he_normal(self, "fan_out")
        nn.init.kaiming_normal_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        x = self.stage3(self.stage2(self.stage1(self.stem(x))))
        return self.fc(self.pool(x).flatten(1))
