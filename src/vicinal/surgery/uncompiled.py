"""Forward passes whose shapes or choices change every step, so that compiling them never ends."""

import sys
from contextlib import AbstractContextManager, nullcontext

import torch


def uncompiled() -> AbstractContextManager[object]:
    """Run what torch.compile has wrapped as it was written; free where nothing was compiled."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
