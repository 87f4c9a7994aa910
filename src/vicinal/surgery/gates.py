"""A gate at the end of every residual branch, to drop or to shake it.

`add_gates` finds where branches end: in our blocks at the last layer that is not the shortcut, in
timm's networks at `drop_path`. A gate acts only under `gating`; in eval mode it may scale the
branch by its survival probability. Otherwise it changes nothing.

A closed branch of our blocks is not computed, so its BatchNorms record nothing. timm's blocks do
not show where their branches begin, so theirs are computed and then dropped.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.surgery.uncompiled import uncompiled

Act = Callable[[Tensor], Tensor]
SLOTS = ("drop_path", "drop_path1", "drop_path2")  # timm's modules right before the sum


class Gate(nn.Module):
    """`layer`, and an action on its output; `before` are the branch's modules before it.

    If they are not known (None), a closed branch is computed all the same.
    """

    def __init__(
        self,
        layer: nn.Module,
        survival: float,
        scaled: bool,
        before: tuple[nn.Module, ...] | None = None,
    ) -> None:
        super().__init__()
        self.layer, self.survival, self.scaled, self.before = layer, survival, scaled, before
        self.act: Act | None = None

    @property
    def left_out(self) -> tuple[nn.Module, ...] | None:
        """The modules before this one, if the branch is not computed."""
        return self.before if self.act is closed else None

    def forward(self, x: Tensor) -> Tensor:
        """The branch's end."""
        left_out = self.left_out
        if left_out is not None:
            weights = [p for module in (*left_out, self.layer) for p in module.parameters()]
            return _Nothing.apply(x, len(self.layer.weight), *weights)  # pyright: ignore
        out = self.layer(x)
        if self.act is not None:
            return self.act(out)
        return self.survival * out if self.scaled and not self.training else out


def add_gates(model: nn.Module, last: float, *, scaled: bool) -> nn.Module:
    """Gates whose survival falls linearly with depth: p_l = 1 - (l / L) (1 - p_L), l = 1 .. L."""
    ends = [end for block in model.modules() for end in _branch_ends(block)]
    if not ends:
        raise ValueError("model must have residual blocks whose branches can be gated, got none")
    for depth, (block, name) in enumerate(ends, start=1):
        layer = getattr(block, name, None) or nn.Identity()
        survival = 1 - depth / len(ends) * (1 - last)
        setattr(block, name, Gate(layer, survival, scaled, _before(block, name)))
    return model


@contextmanager
def gating(model: nn.Module, draw: Callable[[float], Act]) -> Iterator[None]:
    """Let every gate act as `draw` decides from its survival, in the order of the network.

    A compiled network runs uncompiled in here, because every draw would need another compilation.
    """
    gates = [module for module in model.modules() if isinstance(module, Gate)]
    assert gates  # the method's prepare put them there
    for gate in gates:
        gate.act = draw(gate.survival)
    try:
        with ExitStack() as skipping:
            skipping.enter_context(uncompiled(model, "passes with gates, drawn for each pass"))
            for gate in gates:
                skipping.enter_context(_passed_over(gate.left_out or ()))
            yield
    finally:
        for gate in gates:
            gate.act = None


def passing(out: Tensor) -> Tensor:
    """The unchanged branch."""
    return out


def closed(out: Tensor) -> Tensor:
    """No branch; its parameters get zero gradients, not None, so that they still decay."""
    return out * 0.0


def check_survival(survival: float) -> None:
    """Refuse values that are not probabilities above 0."""
    if not 0 < survival <= 1:
        raise ValueError(
            f"survival must be above 0 and at most 1, got {survival} "
            "(p_L, the probability to keep the last residual branch)"
        )


def _branch_ends(block: nn.Module) -> list[tuple[nn.Module, str]]:
    """The block and the attributes at which its branches end."""
    if isinstance(getattr(block, "shortcut", None), nn.Module):
        layers = [name for name, _ in block.named_children() if name.startswith(("conv", "bn"))]
        return [(block, layers[-1])]
    slots = [name for name in SLOTS if hasattr(block, name)]
    if not getattr(block, "has_skip", True):
        return []
    for name in slots:
        if not isinstance(getattr(block, name), nn.Identity | None):
            raise ValueError("model must not drop paths itself: its drop_path_rate must be 0")
    return [(block, name) for name in slots]


def _before(block: nn.Module, end: str) -> tuple[nn.Module, ...] | None:
    """In a block of ours, the modules before the end that only the branch uses."""
    if end in SLOTS:
        return None
    names = [name for name, _ in block.named_children()]
    shared = ("bn1", "relu1") if getattr(block, "shared", False) else ()  # the shortcut's too
    return tuple(getattr(block, n) for n in names[: names.index(end)] if n not in shared)


@contextmanager
def _passed_over(modules: tuple[nn.Module, ...]) -> Iterator[None]:
    """Make the modules return their inputs."""
    for module in modules:
        module.forward = passing
    try:
        yield
    finally:
        for module in modules:
            del module.forward


class _Nothing(torch.autograd.Function):
    """Zeros in place of a branch that was not computed, broadcast over all pixels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, channels: int, *weights: Tensor) -> Tensor:
        """As many channels as the branch has."""
        ctx.save_for_backward(*weights)
        return x.new_zeros((1, channels, *[1] * (x.ndim - 2)))

    @staticmethod
    def backward(ctx: Any, _grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        """Zeros, as for a branch times 0."""
        return None, None, *map(torch.zeros_like, ctx.saved_tensors)
