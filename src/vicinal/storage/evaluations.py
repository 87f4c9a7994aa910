"""Evaluations of finished runs: their keys in a record, and the parts measured so far."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from vicinal.errors import RunError
from vicinal.loggers.progress import counting
from vicinal.machine import ranks
from vicinal.machine.signals import stopping
from vicinal.storage.files import write_json_atomically
from vicinal.storage.records import NOT_SCIENCE, canonical, digest, without
from vicinal.storage.rows import Rows

NOT_MEASURED = ("batch_size", "frost", *NOT_SCIENCE)  # settings that change no number

Numbers = dict[str, float]


def settings(config: Any) -> Any:
    """The part of an evaluation's config that its numbers depend on."""
    return canonical(without(NOT_MEASURED, config))


def key(name: str, report: str, config: Any) -> str:
    """An evaluation's key in a record: NAME-REPORT-DIGEST."""
    return f"{name}-{report}-{digest(settings(config))}"


def missing(
    record: Mapping[str, Any], configs: Mapping[str, Any], reports: Sequence[str]
) -> list[tuple[str, str]]:
    """The reports and evaluations that a record lacks; report by report, as weights are loaded."""
    return [
        (report, name)
        for report in reports
        for name, config in configs.items()
        if key(name, report, config) not in record["evaluations"]
    ]


def check_finite(title: str, numbers: Mapping[str, float]) -> None:
    """Refuse numbers that no record can hold; a trained network should not have them."""
    failed = [name for name, value in numbers.items() if not isfinite(value)]
    if failed:
        raise RunError(f"{title}: {', '.join(failed)} not finite")


@dataclass(frozen=True)
class KeptParts:
    """Measures the parts of an evaluation that are not in the file yet, and keeps each at once.

    All ranks make the same calls; rank zero reads, writes and shows the progress.
    """

    path: Path
    title: str
    progress: bool

    def __call__(
        self, names: Sequence[str], measure: Callable[[str], Numbers]
    ) -> dict[str, Numbers]:
        """The numbers of each part, by name; a signal ends the process between two parts."""
        kept = ranks.broadcast_object(self._read)

        def keep(name: str) -> None:
            self.path.parent.mkdir(exist_ok=True)
            write_json_atomically(self.path, kept)

        _complete(kept, names, measure, keep, self.title, self.progress)
        return {name: kept[name] for name in names}

    def _read(self) -> dict[str, Numbers]:
        try:
            return json.loads(self.path.read_bytes())
        except (OSError, ValueError):  # there is none, or it is damaged: measure them again
            return {}


@dataclass(frozen=True)
class KeptRows:
    """As KeptParts, in a table with a row per part, in the order in which they are measured.

    Parts are measured again from the first row that is cut off or damaged, so that the table ends
    up as if nothing had happened.
    """

    path: Path
    title: str
    progress: bool
    columns: tuple[str, ...]

    def __call__(
        self, names: Sequence[str], measure: Callable[[str], Numbers]
    ) -> dict[str, Numbers]:
        """The numbers of each part, by name; a signal ends the process between two parts."""
        rows = Rows(self.path, self.columns)
        kept = ranks.broadcast_object(rows.recover)

        def keep(name: str) -> None:
            rows.append(name, kept[name])

        _complete(kept, names, measure, keep, self.title, self.progress)
        return {name: kept[name] for name in names}


def _complete(
    kept: dict[str, Numbers],
    names: Sequence[str],
    measure: Callable[[str], Numbers],
    keep: Callable[[str], None],
    title: str,
    progress: bool,
) -> None:
    """Measure the parts that are not kept yet; `keep` writes down each, on rank zero."""
    missing = [name for name in names if name not in kept]
    done, shown = len(names) - len(missing), progress and ranks.is_main()
    # What is measured already is on disk, so that Ctrl-C need not wait for the part at hand.
    with stopping(interrupts=False) as stop, counting(title, done, len(names), shown) as count:
        for name in missing:
            kept[name] = measure(name)
            check_finite(f"{title}, {name}", kept[name])
            if ranks.is_main():
                keep(name)
            count()
            # There is nothing more to save.
            stop.obey(lambda: None, lambda: f"in {title}, after {len(kept)} of {len(names)} parts")
