"""The cores of this machine, without torch."""

import os
from typing import Any


def allowed_cores() -> int:
    """How many CPU cores this process may use."""
    allowed: Any = getattr(os, "sched_getaffinity", None)  # on Linux only
    return len(allowed(0)) if allowed else os.cpu_count() or 1
