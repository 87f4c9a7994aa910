"""Shapes are checked while tests run; networks this small are fastest on one thread."""

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

import vicinal

# Have no tensors; pyright knows the rest.
PLAIN = {"cli", "launching", "loggers", "report", "storage", "tables"}
ROOMS = {path.stem for path in Path(vicinal.__path__[0]).iterdir()} - PLAIN
install_import_hook([f"vicinal.{room}" for room in sorted(ROOMS)], "typecheck.check")
torch.set_num_threads(1)
# The first backward of a process starts a thread for each device, after which it cannot be forked.
# Here there is none yet; once something was compiled, torch pretends that there is a GPU.
torch.zeros(1, requires_grad=True).sum().backward()


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT does what it does in a terminal; a shell may have had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_collection_finish() -> None:
    """What is imported stays, so that runs that collect their garbage need not search it."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """Extensions that count what they lent want it back at the end."""
    gc.unfreeze()
