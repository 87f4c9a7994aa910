"""A forward pass without data or arithmetic, to learn before training what a network cannot do."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

SIDES = (32, 64, 224)  # of images to try

Context = Callable[[nn.Module], AbstractContextManager[object]]


def refusal(model: nn.Module, under: Context) -> str | None:
    """The module in which a pass fails under a context and not without it, and the error.

    None also where the network takes none of the inputs that are tried: no network says what it
    takes. Nothing of it changes, since a copy on the meta device is run.
    """
    twin = deepcopy(model).to("meta").train()
    for x in _inputs(twin):
        if _failure(twin, x, lambda _: nullcontext()) is None:
            return _failure(twin, x, under)
    return None


def _inputs(model: nn.Module) -> list[Tensor]:
    """What the layer that was registered first might take."""
    first = next((m for m in model.modules() if isinstance(m, _ConvNd | nn.Linear)), None)
    if isinstance(first, _ConvNd):
        dims = first.weight.ndim - 2
        shapes = [(2, first.in_channels, *[side] * dims) for side in SIDES]
    else:
        shapes = [(2, first.in_features)] if first else []
    return [torch.empty(shape, device="meta") for shape in shapes]


def _failure(model: nn.Module, x: Tensor, under: Context) -> str | None:
    entered: list[str] = []

    def enter(name: str, *_: object) -> None:
        entered.append(name)

    def leave(*_: object) -> None:
        entered.pop()

    handles = []
    for name, module in model.named_modules():
        label = f"{type(module).__name__} at {name}" if name else type(module).__name__
        handles.append(module.register_forward_pre_hook(partial(enter, label)))
        handles.append(module.register_forward_hook(leave))
    try:
        with torch.no_grad(), under(model):
            model(x)
    except Exception as error:  # networks raise what they like at shapes that they do not take
        return f"{entered[-1]}: {error}".splitlines()[0]
    finally:
        for handle in handles:
            handle.remove()
    return None
