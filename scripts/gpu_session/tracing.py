"""In rehearsals, trace what would be compiled on a GPU."""

from functools import partialmethod

import torch
from torch import nn


def trace_only() -> None:
    """Trace instead of compiling, which is slow and needs a compiler; use one thread."""
    torch.set_num_threads(1)
    traced = partialmethod(nn.Module.compile, backend="aot_eager")
    nn.Module.compile = traced  # pyright: ignore[reportAttributeAccessIssue]
