"""ProxylessNAS's networks: inverted bottlenecks whose kernels and widths a search chose.

Paper:    Cai, Zhu, Han, ProxylessNAS: Direct Neural Architecture Search on Target Task and
          Hardware, ICLR 2019, arXiv 1812.00332
Code:     mit-han-lab/proxylessnas (commit 8eeee00) proxyless_nas/nas_modules.py, layers.py. It
          downloads the kernels, expansions and widths; ours are those of osmr/imgclsmob (commit
          08bdd08) pytorch/pytorchcv/models/proxylessnas.py, which was written from these files
Differs:  their training drops 0.2 or 0.3 of the classifier's inputs, ours none
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate

from jaxtyping import Float
from torch import Tensor, nn

from vicinal.models.arguments import at_least_one, image_channels
from vicinal.models.init import he_normal

STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of each stage's first block; the convolution before them halves
Block = Sequence[int]  # kernel and expansion; or none, for a block that the search left out


class InvertedBottleneck(nn.Module):
    """A 1x1 convolution to `expansion` times the channels, one per channel, and a 1x1 back."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, kernel: int, expansion: int
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.inverted_bottleneck: nn.Module = nn.Identity()
        if expansion > 1:
            self.inverted_bottleneck = normalized(nn.Conv2d(in_channels, inner, 1, bias=False))
        padding = kernel // 2
        depthwise = nn.Conv2d(inner, inner, kernel, stride, padding, groups=inner, bias=False)
        self.depth_conv = normalized(depthwise)
        last = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.point_linear = nn.Sequential(OrderedDict(conv=last, bn=norm(out_channels)))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """No ReLU at the end."""
        return self.point_linear(self.depth_conv(self.inverted_bottleneck(x)))


class ProxylessBlock(nn.Module):
    """An inverted bottleneck, which all but the first of a stage add to their input."""

    def __init__(self, bottleneck: InvertedBottleneck, adds: bool) -> None:
        super().__init__()
        self.mobile_inverted_conv, self.adds = bottleneck, adds

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """The sum, or the bottleneck alone."""
        found = self.mobile_inverted_conv(x)
        return x + found if self.adds else found


class ProxylessNet(nn.Module):
    """A convolution, seven stages of `blocks`, a 1x1 convolution to `head` channels, a classifier.

    Layers have the names of the authors' checkpoints, which `init=file` therefore reads; a block
    that was left out keeps its place. A stage ends with its last block.
    """

    def __init__(
        self,
        stem: int,
        widths: Sequence[int],
        blocks: Sequence[Sequence[Block]],
        head: int,
        *,
        num_classes: int,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        check(stem, widths, blocks, head)
        first = nn.Conv2d(image_channels(shape), stem, 3, 2, padding=1, bias=False)
        self.first_conv = normalized(first)
        made, channels = list[nn.Module](), stem
        for width, stride, stage in zip(widths, STRIDES, blocks, strict=True):
            made += stage_of(stage, channels, width, stride)
            channels = width
        self.blocks = nn.Sequential(*made)
        self.feature_mix_layer = normalized(nn.Conv2d(channels, head, 1, bias=False))
        self.pool = nn.AdaptiveAvgPool2d(1)
        linear = nn.Linear(head, num_classes)
        self.classifier = nn.Sequential(OrderedDict(linear=linear))
        ends = accumulate(map(len, blocks))
        self.stages = ("first_conv", *(f"blocks.{end - 1}" for end in ends))
        he_normal(self, "fan_out")
        for module in self.modules():
            if isinstance(module, InvertedBottleneck):
                he_normal(module.depth_conv, "fan_in")  # k k: each channel by itself
        nn.init.zeros_(linear.bias)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        x = self.feature_mix_layer(self.blocks(self.first_conv(x)))
        return self.classifier(self.pool(x).flatten(1))


def stage_of(
    blocks: Sequence[Block], in_channels: int, out_channels: int, stride: int
) -> list[nn.Module]:
    """Blocks of one width; the first changes the shape."""
    made: list[nn.Module] = []
    for number, block in enumerate(blocks):
        if not block:
            made.append(nn.Identity())
            continue
        kernel, expansion = block
        ends = (
            (in_channels, out_channels, stride) if not number else (out_channels, out_channels, 1)
        )
        bottleneck = InvertedBottleneck(*ends, kernel, expansion)
        made.append(ProxylessBlock(bottleneck, adds=number > 0))
    return made


def normalized(conv: nn.Conv2d) -> nn.Sequential:
    """The convolution, BatchNorm, and a ReLU that ends at 6."""
    return nn.Sequential(OrderedDict(conv=conv, bn=norm(conv.out_channels), relu=nn.ReLU6()))


def norm(channels: int) -> nn.BatchNorm2d:
    """BatchNorm with the authors' ε."""
    return nn.BatchNorm2d(channels, eps=1e-3)


def check(stem: int, widths: Sequence[int], blocks: Sequence[Sequence[Block]], head: int) -> None:
    """Refuse a table of blocks that makes no network."""
    at_least_one(stem=stem, head=head, **{f"widths.{i}": each for i, each in enumerate(widths)})
    for name, given in (("widths", widths), ("blocks", blocks)):
        if len(given) != len(STRIDES):
            raise ValueError(f"{name} must be of {len(STRIDES)} stages, got {len(given)}")
    for number, stage in enumerate(blocks):
        if not stage or not stage[0]:
            raise ValueError(
                f"blocks.{number} must begin with a block, got {list(stage)} "
                "(the first one changes the shape, so it cannot be left out)"
            )
        for block in stage:
            if block and not (len(block) == 2 and block[0] % 2 and min(block) >= 1):
                raise ValueError(
                    f"blocks.{number} must have an odd kernel and an expansion, or nothing, per "
                    f"block, got {list(block)}"
                )
