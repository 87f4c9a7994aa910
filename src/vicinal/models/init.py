"""The initialisation of convolutions that most of the papers' networks state."""

from typing import Literal

from torch import nn

Fan = Literal["fan_in", "fan_out"]


def he_normal(network: nn.Module, fan: Fan) -> None:
    """Convolution weights from N(0, 2 / fan), fan_out being k k c_out also where there are groups.

    Norms and biases keep PyTorch's defaults.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu")
