"""LeNet for spectrograms: two convolutions of 20 channels and a hidden layer of 1,000 units.

Paper:    LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning Applied to Document Recognition,
          Proc. IEEE 1998; as in Zhang et al., ICLR 2018, arXiv 1710.09412, Figure 4
Code:     adiyoss/GCommandsPytorch model.py, whose sizes suit Zhang et al.'s
Differs:  nothing known; whole channels are dropped before the second max-pool, as in the code
"""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from vicinal.models.arguments import image_channels, maps_left

CHANNELS, HIDDEN, KERNEL = 20, 1000, 5


class LeNet(nn.Module):
    """The input has one size, from 16 x 16 up; PyTorch's initialisation."""

    stages = ("stage1", "stage2")

    def __init__(self, *, num_classes: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(image_channels(shape), CHANNELS, KERNEL),
                pool=nn.MaxPool2d(2),
                relu=nn.ReLU(),
            )
        )
        self.stage2 = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(CHANNELS, CHANNELS, KERNEL),
                drop=nn.Dropout2d(0.5),
                pool=nn.MaxPool2d(2),
                relu=nn.ReLU(),
            )
        )
        pixels = maps_left(shape, 16, lambda side: ((side - 4) // 2 - 4) // 2)
        self.hidden = nn.Sequential(
            OrderedDict(
                linear=nn.Linear(CHANNELS * pixels, HIDDEN), relu=nn.ReLU(), drop=nn.Dropout(0.5)
            )
        )
        self.fc = nn.Linear(HIDDEN, num_classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        x = self.stage2(self.stage1(x))
        return self.fc(self.hidden(x.flatten(1)))
