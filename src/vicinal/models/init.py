"""The initialisation of convolutions in most of the papers' networks."""

from typing import Literal

from torch import nn

Fan = Literal["fan_in", "fan_out"]


def he_normal(network: nn.Module, fan: Fan) -> None:
    """Convolution weights from N(0, 2 / fan); fan_out is k k c_out, with groups too.

    Norms and biases keep PyTorch's defaults.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu")
