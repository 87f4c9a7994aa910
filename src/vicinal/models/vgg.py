"""VGG-11 for spectrograms: eight convolutions with BatchNorm, and two linear layers.

Paper:    Simonyan, Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition,
          ICLR 2015, arXiv 1409.1556, Table 1 (A); as in Zhang et al., ICLR 2018, arXiv 1710.09412,
          Figure 4
Code:     adiyoss/GCommandsPytorch model.py
Differs:  from Simonyan and Zisserman as the code does: BatchNorm before each ReLU, 512 units in
          place of twice 4,096, and nothing between the linear layers
"""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from vicinal.models.arguments import image_channels, maps_left

WIDTHS = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # each stage ends in a max-pool
HIDDEN = 512


class VGG11(nn.Module):
    """The input has one size, from 32 x 32 up; PyTorch's initialisation."""

    stages = ("stage1", "stage2", "stage3", "stage4", "stage5")

    def __init__(self, *, num_classes: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        ends = [image_channels(shape), *(widths[-1] for widths in WIDTHS)]
        stages = [
            _stage(channels, *widths) for channels, widths in zip(ends[:-1], WIDTHS, strict=True)
        ]
        self.stage1, self.stage2, self.stage3, self.stage4, self.stage5 = stages
        pixels = maps_left(shape, 32, lambda side: side // 2 ** len(WIDTHS))
        self.hidden = nn.Linear(ends[-1] * pixels, HIDDEN)
        self.fc = nn.Linear(HIDDEN, num_classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        x = self.stage3(self.stage2(self.stage1(x)))
        x = self.stage5(self.stage4(x))
        return self.fc(self.hidden(x.flatten(1)))


def _stage(*widths: int) -> nn.Sequential:
    """From the first width through each of the others, then halved."""
    layers: list[nn.Module] = []
    for ends in pairwise(widths):
        layers += [nn.Conv2d(*ends, 3, padding=1), nn.BatchNorm2d(ends[1]), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2))
