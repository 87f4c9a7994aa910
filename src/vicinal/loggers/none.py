"""No logging beyond the history and the record."""

from typing import Any

from vicinal.loggers.logger import RunIdentity


class Silent:
    """A logger that does nothing."""

    def start(self, run: RunIdentity) -> None:
        """Nothing to open."""

    def log(self, epoch: int, values: dict[str, float]) -> None:
        """Nothing to show."""

    def finish(self, record: dict[str, Any]) -> None:
        """Nothing to close."""
