"""Which loggers show a run to its end, and showing it after the fact."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicinal.loggers.logger import Beside, Logger, RunIdentity
from vicinal.storage.files import write_bytes_atomically
from vicinal.storage.records import epochs


@dataclass(frozen=True)
class Told:
    """A run's logger, which is told of it to the end once; a file in its folder keeps where.

    The caller holds the folder's lock.
    """

    logger: Logger
    folder: Path

    def reopen(self, record: dict[str, Any], growing: bool) -> bool:
        """Show a run that finished earlier; whether its end is to be shown as well.

        Its epochs are shown unless they were. A `growing` record is about to get evaluations, which
        are shown in any case.
        """
        if not self.logger.place:
            return False
        known = self.logger.place in self._places()
        if known and not growing:
            print(f"logged already: {self.logger.place} (delete {self._file} to log it again)")
            return False
        self.logger.start(RunIdentity.of(record, self.folder, resumed=True))
        if not known:
            for epoch, values in epochs(record["curves"]):
                self.logger.log(epoch, values)
        return True

    def finish(self, record: dict[str, Any], beside: Sequence[Beside]) -> None:
        """Show its end, and note the place once all of the run is there."""
        shown, place = self.logger.finish(record, beside), self.logger.place
        if shown and place and place not in (known := self._places()):
            write_bytes_atomically(self._file, "".join(f"{p}\n" for p in (*known, place)).encode())

    @property
    def _file(self) -> Path:
        return self.folder / "logged.txt"

    def _places(self) -> list[str]:
        return self._file.read_text().splitlines() if self._file.exists() else []
