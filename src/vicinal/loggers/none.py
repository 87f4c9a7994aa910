"""No logging beyond the history and the record."""

from collections.abc import Sequence
from typing import Any

from vicinal.loggers.logger import Beside, RunIdentity


class Silent:
    """A logger that does nothing."""

    place = ""

    def start(self, run: RunIdentity) -> None:
        """Nothing to open."""

    def log(self, epoch: int, values: dict[str, float]) -> None:
        """Nothing to show."""

    def finish(self, record: dict[str, Any], beside: Sequence[Beside]) -> bool:
        """Nothing to close."""
        return True
