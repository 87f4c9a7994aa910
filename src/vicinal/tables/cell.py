"""One number that a paper prints: what it measures, and the run that reproduces it."""

import re
from dataclasses import dataclass

MEASURES = {  # what a record can supply, and how: scale and offset of the recorded number
    "error": ("top1", -1, 100),
    "accuracy": ("top1", 1, 0),
    "top5_error": ("top5", -1, 100),
    "top5_accuracy": ("top5", 1, 0),
    "nll": ("nll", 1, 0),
}
SPLITS = ("test", "valid", "kept", "redrawn")  # the last two: training labels, under label noise
REPORTS = ("last", "median10", "best_test", "best_valid")
CAPABILITIES = (
    "corrupted test sets",
    "attacks on trained networks",
    "deformed test sets",
    "CIFAR-10.1",
    "certification",
    "language models",
    "speech data",
    "object detection",
    "cost measurements",
    "statistics of normalisation layers",
    "a method of another paper",
    "a recipe of another paper",
    "weights of another paper",
    "transfer to another task",
)

_PRINTED = re.compile(r"(-?\d[\d,]*(?:\.\d+)?)(?:±(\d+(?:\.\d+)?))?")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed number, and the run that reproduces it."""

    table: str
    row: tuple[str, ...]
    column: tuple[str, ...]
    place: tuple[int, int]
    printed: str
    overrides: tuple[str, ...]
    measures: str = "error"
    unit: str = "%"
    better: str = "lower"
    report: str = "last"
    split: str = "test"
    paper_runs: int = 1
    gpus: int = 1  # the paper's, each of which normalised its own share of a batch
    seeds: tuple[int, ...] = (0, 1, 2)
    quoted: str | None = None
    note: str | None = None
    waits: str | None = None

    def __post_init__(self) -> None:
        where = f"{self.table}, {self.label}"
        if not _PRINTED.fullmatch(self.printed):
            raise ValueError(f"{where}: printed must be like 5.60 or 5.60±0.12, got {self.printed}")
        known: dict[str, tuple[str | None, ...]] = {
            "better": ("lower", "higher", "none"),
            "report": REPORTS,
            "split": SPLITS,
            "waits": (None, *CAPABILITIES),
        }
        for field, values in known.items():
            if getattr(self, field) not in values:
                listed = ", ".join(map(str, values))
                raise ValueError(
                    f"{where}: {field} must be one of {listed}, got {getattr(self, field)}"
                )
        if self.waits is None and self.measures not in (*MEASURES, "parameters"):
            raise ValueError(f"{where}: no run measures {self.measures}; say what it waits for")
        read_at = {"test": REPORTS, "valid": ("last", "best_valid")}.get(self.split, ("last",))
        if self.report not in read_at:
            raise ValueError(f"{where}: {self.split} data are read at {' or '.join(read_at)}")
        if self.waits is None and not self.overrides:
            raise ValueError(f"{where}: run must be given where nothing is waited for")

    @property
    def labels(self) -> set[str]:
        """The parts of the row's and the column's label."""
        return {*self.row, *self.column}

    @property
    def label(self) -> str:
        """The cell's row and column, as the paper labels them."""
        return " | ".join((*self.row, *self.column))

    @property
    def value(self) -> float:
        """The number itself."""
        return float(self._parts[0].replace(",", ""))

    @property
    def spread(self) -> float | None:
        """The standard deviation that the paper prints beside it."""
        return None if self._parts[1] is None else float(self._parts[1])

    @property
    def decimals(self) -> int:
        """To how many decimals it is printed."""
        return len(self._parts[0].partition(".")[2])

    @property
    def _parts(self) -> tuple[str, str | None]:
        found = _PRINTED.fullmatch(self.printed)
        assert found is not None
        return found[1], found[2]
