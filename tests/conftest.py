"""Shapes are checked while tests run; networks this small are fastest on one thread."""

import gc

import torch
from jaxtyping import install_import_hook

install_import_hook("vicinal", "typecheck.check")
torch.set_num_threads(1)
# The first backward of a process starts a thread for each device, after which it cannot be forked.
# Here there is none yet; once something was compiled, torch pretends that there is a GPU.
torch.zeros(1, requires_grad=True).sum().backward()


def pytest_collection_finish() -> None:
    """What is imported stays, so that runs that collect their garbage need not search it."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """Extensions that count what they lent want it back at the end."""
    gc.unfreeze()
