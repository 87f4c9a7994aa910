"""A forward pass without data or arithmetic, to find out before training what would fail."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

SIDES = (32, 64, 224)  # of the images to try

Context = Callable[[nn.Module], AbstractContextManager[object]]


def refusal(model: nn.Module, under: Context) -> str | None:
    """The module in which a pass fails only under a context, and its error.

    Also None if the network accepts none of the inputs tried, because networks do not say what they
    accept. A copy on the meta device runs, so the network does not change.
    """
    twin = deepcopy(model).to("meta").train()
    for x in _inputs(twin):
        if _failure(twin, x, lambda _: nullcontext()) is None:
            return _failure(twin, x, under)
    return None


def _inputs(model: nn.Module) -> list[Tensor]:
    """Inputs that the first registered layer might accept."""
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
    except Exception as error:  # networks raise any error at shapes that they do not accept
        return f"{entered[-1]}: {error}".splitlines()[0]
    finally:
        for handle in handles:
            handle.remove()
    return None
