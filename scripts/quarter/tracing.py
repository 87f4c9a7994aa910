"""Rehearsals trace what a GPU compiles."""

from functools import partialmethod

import torch
from torch import nn


def trace_only() -> None:
    """From now on nothing is compiled, which would take a compiler and long; on one thread."""
    torch.set_num_threads(1)
    traced = partialmethod(nn.Module.compile, backend="aot_eager")
    nn.Module.compile = traced  # pyright: ignore[reportAttributeAccessIssue]
