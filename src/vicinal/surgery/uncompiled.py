"""Run uncompiled the passes whose shapes, choices or hooks change in every step."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import nn

log = logging.getLogger(__name__)


@contextmanager
def uncompiled(model: nn.Module, why: str) -> Iterator[None]:
    """Run compiled networks as they were written; free if nothing is compiled.

    If this network is compiled, the log says so, once per reason.
    """
    if "torch._dynamo" not in sys.modules:
        yield
        return
    if hasattr(model, "_orig_mod") or model._compiled_call_impl is not None:
        _say(why)
    with torch.compiler.set_stance("force_eager"):
        yield


@cache
def _say(why: str) -> None:
    log.warning("not compiled: %s", why)
