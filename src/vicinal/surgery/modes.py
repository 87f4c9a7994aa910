"""Temporary modes of a network: switched in a `with`, restored on exceptions."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm normalises as usual (by the batch, in train mode) but records nothing.

    `track_running_stats=False` is used rather than a momentum of 0, because it also leaves the
    counter of batches alone, and a NaN batch cannot reach the buffers (0 × NaN is NaN).
    """
    tracking = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode; afterwards each goes back to its own."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def constant_weights(model: nn.Module) -> Iterator[None]:
    """Differentiate no parameter; afterwards restore those that were.

    An uncompiled backward skips gradients that were not asked for. A compiled one is one piece of
    code, and the weights' gradients are half of its work.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad = True


@contextmanager
def searched(model: nn.Module) -> Iterator[None]:
    """For a search among inputs: eval mode, and only the inputs are differentiated."""
    with evaluating(model), constant_weights(model):
        yield
