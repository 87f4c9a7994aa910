"""Compiling without compilers: what is traced is run as it stands; torch's own need no tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod

import jaxtyping
import pytest
import torch
from torch import nn

from vicinal.surgery import uncompiled


@contextmanager
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compile by tracing alone, and count graphs from none."""
    compile_ = partialmethod(nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(nn.Module, "compile", compile_)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    uncompiled._say.cache_clear()
    yield
    torch.compiler.reset()
