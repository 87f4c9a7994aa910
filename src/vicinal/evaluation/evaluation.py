"""What can be measured on a trained network."""

from typing import Protocol, runtime_checkable

from torch import nn

from vicinal.data.split import Part


@runtime_checkable
class Evaluation(Protocol):
    """Numbers of one split, by name; leaves the network as it was. Training needs `top1`."""

    def __call__(self, model: nn.Module, split: Part) -> dict[str, float]:
        """Measure `model` on `split`."""
        ...
