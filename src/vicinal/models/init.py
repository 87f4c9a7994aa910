"""How networks get their first weights, and how they are built without any."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

Fan = Literal["fan_in", "fan_out"]


def he_normal(network: nn.Module, fan: Fan) -> None:
    """Convolution weights from N(0, 2 / fan); fan_out is k k c_out, with groups too.

    Norms and biases keep PyTorch's defaults.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu")


@contextmanager
def without_weights() -> Iterator[None]:
    """Build networks on the meta device, for their shapes and their constructors' checks."""
    with torch.device("meta"), _Undrawn():
        yield


class _Undrawn(TorchFunctionMode):
    """Does not draw: on the meta device nothing keeps it, and it takes most of the time."""

    DRAWS = frozenset(("normal_", "uniform_", "kaiming_uniform_", "trunc_normal_"))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func.__name__ in self.DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
