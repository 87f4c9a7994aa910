"""Locks on open files, which the system releases however their holder dies."""

import sys
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows; vicinities, methods and networks need no lock and work there
    sys.exit("vicinal: runs need Linux or macOS, whose locks keep two processes off one run")


def lock(file: IO[Any], *, wait: bool) -> None:
    """Lock the file until it is closed; without `wait`, BlockingIOError if another holds it."""
    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
