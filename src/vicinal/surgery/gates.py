"""A gate at the end of every residual branch, to drop or to shake it.

`add_gates` finds the branches: in our blocks the last layer that is not the shortcut, in timm's
networks the place of its `drop_path`. A gate acts under `gating` alone; in eval mode it may scale
the branch by its survival probability. Otherwise the network is what it was.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vicinal.surgery.uncompiled import uncompiled

Act = Callable[[Tensor], Tensor]
SLOTS = ("drop_path", "drop_path1", "drop_path2")  # timm's, applied right before the sum


class Gate(nn.Module):
    """`layer`, and what is done to its output."""

    def __init__(self, layer: nn.Module, survival: float, scaled: bool) -> None:
        super().__init__()
        self.layer, self.survival, self.scaled = layer, survival, scaled
        self.act: Act | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The branch's end."""
        out = self.layer(x)
        if self.act is not None:
            return self.act(out)
        return self.survival * out if self.scaled and not self.training else out


def add_gates(model: nn.Module, last: float, *, scaled: bool) -> nn.Module:
    """Gates whose survival falls linearly with depth: p_l = 1 - (l / L) (1 - p_L), l = 1 .. L."""
    ends = [end for block in model.modules() for end in _branch_ends(block)]
    if not ends:
        raise ValueError("model must have residual blocks, got none whose branch could be gated")
    for depth, (block, name) in enumerate(ends, start=1):
        layer = getattr(block, name, None) or nn.Identity()
        survival = 1 - depth / len(ends) * (1 - last)
        setattr(block, name, Gate(layer, survival, scaled))
    return model


@contextmanager
def gating(model: nn.Module, draw: Callable[[float], Act]) -> Iterator[None]:
    """Every gate acts as `draw` says for its survival; drawn here, in the order of the network.

    A compiled network runs uncompiled in here: every draw would be another compilation.
    """
    gates = [module for module in model.modules() if isinstance(module, Gate)]
    assert gates  # the method's prepare put them there
    for gate in gates:
        gate.act = draw(gate.survival)
    try:
        with uncompiled():
            yield
    finally:
        for gate in gates:
            gate.act = None


def passing(out: Tensor) -> Tensor:
    """The branch as it is."""
    return out


def closed(out: Tensor) -> Tensor:
    """No branch; its parameters get zeros as gradients, not none, so that they still decay."""
    return out * 0.0


def absent(out: Tensor) -> Tensor:
    """No branch, and no backward pass through it."""
    return torch.zeros_like(out)


def check_survival(survival: float) -> None:
    """Refuse what is no probability of the last branch."""
    if not 0 < survival <= 1:
        raise ValueError(
            f"survival must be above 0 and at most 1, got {survival} "
            "(p_L, with which the last residual branch is kept)"
        )


def _branch_ends(block: nn.Module) -> list[tuple[nn.Module, str]]:
    """The module and attribute names behind which its branches are complete."""
    if isinstance(getattr(block, "shortcut", None), nn.Module):
        layers = [name for name, _ in block.named_children() if name.startswith(("conv", "bn"))]
        return [(block, layers[-1])]
    slots = [name for name in SLOTS if hasattr(block, name)]
    if not getattr(block, "has_skip", True):
        return []
    for name in slots:
        if not isinstance(getattr(block, name), nn.Identity | None):
            raise ValueError("model must not drop paths of its own, set its drop_path_rate to 0")
    return [(block, name) for name in slots]
