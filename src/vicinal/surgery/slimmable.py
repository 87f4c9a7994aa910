"""Temporarily narrow a network of convolutions, BatchNorm and linear layers to its first channels.

`with narrowed(model, w): model(x)` computes with weight[:out, :in] of every layer, where `out` is
the layer's width rounded as in GradAug's code and `in` is the number of channels that arrive.
Tensors that are added have the same nominal width, hence the same width, so residual sums fit.

The slicing happens where operations are called, not in modules: layers that do more than call them
(timm's padded convolutions, its norms with activations), names, parameters, hooks and state stay as
they are. Other layers that mix channels are refused: the first channels of a LayerNorm's, a
GroupNorm's or a concatenation's output are not a function of the first channels of its input.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from math import ceil, floor
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.overrides import TorchFunctionMode

from vicinal.surgery.modes import frozen_statistics
from vicinal.surgery.rehearsal import refusal
from vicinal.surgery.uncompiled import uncompiled

MIXING = (_InstanceNorm, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm, _ConvTransposeNd)
REHEARSED = 0.7  # a width that leaves few even numbers of channels
# The position of each function's dimension argument.
JOINING: dict[Callable[..., Any], int] = {
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), 1),
    **dict.fromkeys((torch.split, torch.chunk, Tensor.split, Tensor.chunk), 2),
}


@contextmanager
def narrowed(
    model: nn.Module, width: float, classifies: bool = True, *, recurs: bool = False
) -> Iterator[None]:
    """Keep only the first `width` of all channels; inputs and logits keep all of theirs.

    A part of a network may be narrowed alone. Layers outside it that are called in here keep all
    their outputs, and take the channels that arrive. Where it ends in no classifier (`classifies`
    is false), its last layer is narrowed like the others.

    Below 1, BatchNorm normalises by the batch in either mode, and its running statistics are
    neither read nor written, even if no layer loses a channel. At 1 nothing changes. A compiled
    network runs uncompiled in here, because every width needs a compilation, unless the width
    `recurs`.
    """
    if not 0 < width <= 1:
        raise ValueError(f"width must be above 0 and at most 1, got {width}")
    if width == 1:
        yield
        return
    why = "passes of sub-networks, whose widths change"
    compiling = nullcontext() if recurs else uncompiled(model, why)
    with frozen_statistics(model), compiling, _Narrowing(model, width, classifies):
        yield


@contextmanager
def untuned(shapes_are_new: bool) -> Iterator[None]:
    """Let cuDNN guess the fastest algorithms when these shapes are unlikely to return.

    With cudnn.benchmark it would time all of them, for every convolution at every width and image
    size. Backward passes are timed too, so this must stay open until the term's backward is done:
    around its `yield`.
    """
    tuned = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = tuned and not shapes_are_new
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = tuned


def check_slimmable(model: nn.Module, classifies: bool = True) -> None:
    """Refuse a network in which first channels are not a function of first channels.

    A rehearsal shows where channels are joined or reshaped between layers, if it finds an input
    that the network accepts; otherwise the first narrow pass refuses.
    """
    for name, module in model.named_modules():
        sliceable = isinstance(module, _ConvNd | _BatchNorm | nn.Linear)
        trained = next(module.parameters(recurse=False), None) is not None
        if isinstance(module, MIXING) or (trained and not sliceable):
            raise ValueError(
                "model must consist of convolutions, BatchNorm and linear layers to have "
                f"sub-networks of its first channels, got {type(module).__name__} at {name}"
            )
    if not _layers(model):
        raise ValueError("model must have convolutions or linear layers, got none to narrow")
    failed = refusal(model, lambda twin: narrowed(twin, REHEARSED, classifies))
    if failed:
        raise ValueError(f"model must narrow to its first channels, but fails to in {failed}")


def num_channels(count: int, width: float, ratio: float = 1.0) -> int:
    """c(w) = floor(R(c w / ρ) ρ), where R rounds half up to at least 1 and at least 0.9 v."""
    value = count * width / ratio
    rounded = max(1, floor(value + 0.5))
    return floor((rounded + (rounded < 0.9 * value)) * ratio)


def _layers(model: nn.Module) -> list[_ConvNd | nn.Linear]:
    return [m for m in model.modules() if isinstance(m, _ConvNd | nn.Linear)]


def _ratios(model: nn.Module) -> dict[Tensor, float]:
    """Where ρ is not 1: in ResNet-50 and deeper, for layers a quarter as wide as their block.

    These are the stem and the first two convolutions of bottlenecks whose third has four times
    their channels and a norm of its own.
    """
    inner = []
    for block in model.modules():
        children = dict(block.named_children())
        convs = [children.get(f"conv{i}") for i in (1, 2, 3)]
        first, second, third = (c if isinstance(c, nn.Conv2d) else None for c in convs)
        if first and second and third and "bn3" in children and "bn4" not in children:
            if second.groups == 1 and 4 * second.out_channels == third.out_channels:
                inner += [first.weight, second.weight]
    stem = [_layers(model)[0].weight] if inner else []
    return dict.fromkeys(stem + inner, 0.25)


class _Narrowing(TorchFunctionMode):
    """Slices the parameters passed to operations."""

    def __init__(self, model: nn.Module, width: float, classifies: bool) -> None:
        super().__init__()
        self.width, ratios = width, _ratios(model)
        layers = _layers(model)[: -1 if classifies else None]  # the last one registered
        self.narrow = {layer.weight: ratios.get(layer.weight, 1.0) for layer in layers}
        self.calls: dict[Callable[..., Any], Callable[..., Any]] = {
            conv: partial(self._conv, conv) for conv in (F.conv1d, F.conv2d, F.conv3d)
        }
        self.calls |= {F.linear: self._linear, F.batch_norm: _batch_norm}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in JOINING:
            place = JOINING[func]
            dim = kwargs.get("dim", args[place] if len(args) > place else 0)
            if dim != 0:
                raise ValueError(
                    f"model must not join or split channels to be narrowed, got {func.__name__} "
                    "(the first channels of a concatenation are not those of its parts)"
                )
        return self.calls.get(func, func)(*args, **kwargs)

    def _kept(self, weight: Tensor) -> int:
        """Output channels of a layer."""
        if weight not in self.narrow:
            return len(weight)
        return num_channels(len(weight), self.width, self.narrow[weight])

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        # Flattened maps lie channel by channel, so the first channels come first.
        out = self._kept(weight)
        return F.linear(x, weight[:out, : x.shape[-1]], _first(bias, out))

    def _conv(
        self,
        conv: Callable[..., Tensor],
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        out = self._kept(weight)
        if groups == 1:
            sliced = weight[:out, : x.shape[1]]
            return conv(x, sliced, _first(bias, out), stride, padding, dilation)
        # The last group may be cut: its missing inputs are zero, its surplus outputs dropped.
        group_in, group_out = weight.shape[1], len(weight) // groups
        needed = max(ceil(x.shape[1] / group_in), ceil(out / group_out))
        missing = needed * group_in - x.shape[1]
        if missing:
            x = F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing))
        total = needed * group_out
        wide = conv(x, weight[:total], _first(bias, total), stride, padding, dilation, needed)
        return wide[:, :out]


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    first = partial(_first, count=x.shape[1])
    return F.batch_norm(x, None, None, first(weight), first(bias), True, momentum, eps)


def _first(parameter: Tensor | None, count: int) -> Tensor | None:
    return None if parameter is None else parameter[:count]
