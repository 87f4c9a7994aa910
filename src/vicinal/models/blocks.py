"""Residual blocks, each computing shortcut(x) + branch(x).

Every layer is a submodule under a name that the families share (bn1, relu1, conv1, …, shortcut), so
that it can be hooked or replaced from outside: a branch ends in a module of its own, and conv2's
input is the output of the ReLU between the convolutions. No ReLU works in place, because a hook may
keep its input. Channels are read from the tensors, since layers may be narrowed.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Shortcut = Literal["conv", "pad"]


def stage(
    block: Callable[[int, int, int], nn.Module],
    in_channels: int,
    out_channels: int,
    stride: int,
    num_blocks: int,
) -> nn.Sequential:
    """Blocks of one width; the first changes the shape."""
    rest = (block(out_channels, out_channels, 1) for _ in range(1, num_blocks))
    return nn.Sequential(block(in_channels, out_channels, stride), *rest)


def pad_channels(x: Float[Tensor, "n c h w"], num_channels: int) -> Float[Tensor, "n d h w"]:
    """Zero channels after the last, up to `num_channels`."""
    return F.pad(x, (0, 0, 0, 0, 0, num_channels - x.shape[1]))


class PreActBlock(nn.Module):
    """conv2(relu2(bn2(conv1(relu1(bn1(x)))))) plus the shortcut: He et al. 2016b, Fig. 4e.

    If the shape changes, the shortcut is a bare 1x1 convolution. It starts at relu1's output if
    the block is `shared` (by default where the shape changes), otherwise at the raw x.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, shared: bool | None = None
    ) -> None:
        super().__init__()
        changes_shape = stride != 1 or in_channels != out_channels
        self.shared = changes_shape if shared is None else shared
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1: nn.Module = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2: nn.Module = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut: nn.Module = nn.Identity()
        if changes_shape:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """The block's sum, not activated."""
        active = self.relu1(self.bn1(x))
        branch = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return self.shortcut(active if self.shared else x) + branch


class BasicBlock(nn.Module):
    """relu2(bn2(conv2(relu1(bn1(conv1(x))))) + shortcut): He et al. 2016a, Fig. 2.

    If the shape changes, the shortcut is a 1x1 convolution and its norm, or (`pad`) an average
    pool and zero channels, which has no parameters.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, shortcut: Shortcut = "conv"
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = (
            conv_shortcut(in_channels, out_channels, stride)
            if shortcut == "conv"
            else pool_shortcut(stride)
        )
        self.relu2 = nn.ReLU()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """The block's sum, activated."""
        branch = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        skip = self.shortcut(x)
        if skip.shape[1] != branch.shape[1]:
            skip = pad_channels(skip, branch.shape[1])
        return self.relu2(skip + branch)


class Bottleneck(nn.Module):
    """1x1 to `inner` channels, 3x3 in groups, 1x1 to `out_channels`, each followed by a norm."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, inner: int, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = conv_shortcut(in_channels, out_channels, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """The block's sum, activated."""
        inner = self.relu1(self.bn1(self.conv1(x)))
        inner = self.relu2(self.bn2(self.conv2(inner)))
        return self.relu3(self.shortcut(x) + self.bn3(self.conv3(inner)))


def conv_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """A 1x1 convolution and its norm if the shape changes, otherwise the identity."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels)))


def pool_shortcut(stride: int) -> nn.Module:
    """An average pool as coarse as the branch; its ceiling matches a padded 3x3 stride."""
    return nn.Identity() if stride == 1 else nn.AvgPool2d(stride, ceil_mode=True)
