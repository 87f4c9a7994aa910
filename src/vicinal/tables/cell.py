"""One number of a table: what it measures, and the run that it is measured on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from vicinal.cli.configs import options
from vicinal.cli.overrides import key_of, merge, side_by_side
from vicinal.storage.weights import REPORTS as WEIGHTS

MEASURES = {  # the recorded number, and its scale and offset in the printed one
    "error": ("top1", -1, 100),
    "accuracy": ("top1", 1, 0),
    "top5_error": ("top5", -1, 100),
    "top5_accuracy": ("top5", 1, 0),
    "nll": ("nll", 1, 0),
    "perplexity": ("perplexity", 1, 0),
    "average_precision": ("average_precision", 1, 0),
    "mask_average_precision": ("mask_average_precision", 1, 0),
    "share": ("top1", 0.01, 0),  # accuracy from 0 to 1
    # Of evaluations:
    "robust_accuracy": ("robust_accuracy", 1, 0),
    "robust_accuracy_without_noise": ("robust_accuracy_without_noise", 1, 0),
    "mce": ("mce", 1, 0),
    "mce_without_noise": ("mce_without_noise", 1, 0),
    "corruption_error": ("ce", 1, 0),
    "certified_accuracy": ("certified_accuracy", 1, 0),
    "accuracy_of_batches": ("batch_mean_top1", 1, 0),
    "bn_variance": ("variance", 1, 0),
    "seconds_per_epoch": ("seconds_per_epoch", 1, 0),
    "minutes_per_epoch": ("seconds_per_epoch", 1 / 60, 0),
    "hours": ("seconds_per_epoch", 1 / 3600, 0),  # times the epochs of the protocol
    "memory": ("memory_mb", 1, 0),
}
HIGHER = (  # the measures of which more is better
    *("accuracy", "top5_accuracy", "share", "average_precision", "mask_average_precision"),
    *("robust_accuracy", "robust_accuracy_without_noise", "certified_accuracy"),
    "accuracy_of_batches",
)
COSTS = ("seconds_per_epoch", "minutes_per_epoch", "hours", "memory")
UNTRAINED = ("cost", "cost_words")  # evaluations that need no trained network
EXACT = ("parameters", "multiply_adds")  # counted on the network, without training it
UNITS = {"M": 1e6, "G": 1e9}  # of the exact measures
SPLITS = ("test", "valid", "kept", "redrawn")  # the last two: training labels, under label noise
REPORTS = ("last", "median10", "best_test", "best_valid")  # the epoch that counts

_PRINTED = re.compile(r"(-?\d[\d,]*(?:\.\d+)?)(?:±(\d+(?:\.\d+)?))?")
_SENTENCE = re.compile(r"[A-Z].*\S\.")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number, and the run that it is measured on."""

    table: str
    row: tuple[str, ...]
    column: tuple[str, ...]
    place: tuple[int, int]
    overrides: tuple[str, ...]
    printed: str | None = None  # by the paper; a table of one's own needs no numbers
    measures: str = "error"
    unit: str = "%"
    better: str = "lower"
    report: str = "last"
    split: str = "test"
    evaluation: str | None = None  # what is measured on the trained network
    part: str | None = None  # of the evaluation: its numbers are called PART_MEASURE
    source: tuple[str, ...] = ()  # overrides of another run, whose network is attacked instead
    start: tuple[str, ...] = ()  # overrides of another run, with whose weights its run begins
    beside: tuple[str, ...] = ()  # evaluations that a reader wants to see beside the number
    over: "Cell | None" = None  # of a cost: the number of plain training that it is divided by
    paper_runs: int = 1
    gpus: int = 1  # in the paper; each GPU normalised its own share of a batch
    seeds: tuple[int, ...] = (0, 1, 2)
    quoted: str | None = None
    best_of: tuple[str, ...] = ()  # sweeps: the number is the best of these runs
    note: str | None = None
    unavailable: str | None = None  # why no run can reproduce it, in one sentence
    definition: bool = False  # the printed number follows from a definition
    resampled: float | None = None  # the share of the data that each seed holds out for testing

    def __post_init__(self) -> None:
        where = f"{self.table}, {self.label}"
        if self.printed is not None and not _PRINTED.fullmatch(self.printed):
            raise ValueError(f"{where}: printed must be like 5.60 or 5.60±0.12, got {self.printed}")
        allowed: dict[str, tuple[str | None, ...]] = {
            "better": ("lower", "higher", "none"),
            "report": REPORTS,
            "split": SPLITS,
            "evaluation": (None, *(sorted(options("evaluation")) if self.evaluation else ())),
        }
        for field, values in allowed.items():
            if getattr(self, field) not in values:
                listed = ", ".join(map(str, values))
                raise ValueError(
                    f"{where}: {field} must be one of {listed}, got {getattr(self, field)}"
                )
        self._check_kind(where)
        if self.resampled is not None and not 0 < self.resampled < 1:
            raise ValueError(f"{where}: resampled must be between 0 and 1, got {self.resampled}")
        if self.runnable and self.measures not in (*MEASURES, *EXACT):
            raise ValueError(
                f"{where}: measures must be something that a run measures, got {self.measures} "
                "(or say why the cell is unavailable)"
            )
        if self.measures in EXACT and self.unit not in UNITS:
            listed = " or ".join(UNITS)
            raise ValueError(f"{where}: unit of {self.measures} must be {listed}, got {self.unit}")
        reports = {"test": REPORTS, "valid": ("last", "best_valid")}.get(self.split, ("last",))
        if self.report not in reports:
            listed = " or ".join(reports)
            raise ValueError(f"{where}: report of {self.split} data must be {listed}")
        self._check_evaluation(where)
        if self.best_of and self.better == "none":
            raise ValueError(f"{where}: best_of needs a better direction, got none")
        if self.runnable and not self.overrides:
            raise ValueError(f"{where}: run must be given, unless the cell is unavailable")

    def _check_kind(self, where: str) -> None:
        for field in ("definition", "quoted"):
            if getattr(self, field) and self.printed is None:
                raise ValueError(f"{where}: {field} needs a printed number")
        if self.definition and self.unavailable is not None:
            raise ValueError(f"{where}: unavailable and definition cannot both be set")
        if self.unavailable is not None and not _SENTENCE.fullmatch(self.unavailable):
            raise ValueError(
                f"{where}: unavailable must be a sentence, from a capital letter to a full stop, "
                f"got {self.unavailable!r} (readers see it)"
            )

    def _check_evaluation(self, where: str) -> None:
        if self.runnable and self.untrained != (self.measures in COSTS):
            raise ValueError(
                f"{where}: measures must be one of {', '.join(COSTS)} if and only if evaluation is "
                f"{' or '.join(UNTRAINED)}, got {self.measures} and {self.evaluation}"
            )
        if self.evaluation is not None and self.report not in WEIGHTS:
            raise ValueError(f"{where}: report of an evaluation must be {' or '.join(WEIGHTS)}")
        for field in ("part", "source", "beside"):
            if getattr(self, field) and self.evaluation is None:
                raise ValueError(f"{where}: {field} needs an evaluation")
        for name in self.beside:
            if name not in options("evaluation"):
                listed = ", ".join(sorted(options("evaluation")))
                raise ValueError(f"{where}: beside must be some of {listed}, got {name}")

    @property
    def run(self) -> tuple[str, ...]:
        """The overrides of its run, without `best_of`; a cost is measured without training."""
        return merge(self.overrides, ("schedule.epochs=0",) if self.untrained else ())

    @property
    def runs(self) -> list[tuple[str, ...]]:
        """The overrides of the run that reproduces it, or of each of several."""
        choices = product(*map(side_by_side, self.best_of))
        return [merge(self.run, *choice) for choice in choices]

    def reduced_by(self, reduction: Sequence[str]) -> tuple[str, ...]:
        """What of a reduction changes its run: where nothing is trained, fewer epochs do not."""
        lines = tuple(reduction)
        if not self.untrained:
            return lines
        return tuple(line for line in lines if key_of(line) != "schedule.epochs")

    @property
    def untrained(self) -> bool:
        """Whether its evaluation needs no trained network."""
        return self.evaluation in UNTRAINED

    @property
    def is_reference(self) -> bool:
        """Whether it is itself the number that other costs are divided by."""
        return self.over is not None and self.over.label == self.label

    @property
    def ratio(self) -> float | None:
        """Of a cost, the printed number over that of plain training."""
        if self.over is None or self.printed is None or self.over.printed is None:
            return None
        return self.value / self.over.value

    @property
    def runnable(self) -> bool:
        """Whether our code can produce this number."""
        return self.unavailable is None and not self.definition

    @property
    def metric(self) -> str:
        """The name of the recorded number."""
        key = MEASURES[self.measures][0]
        return key if self.part is None else f"{self.part}_{key}"

    @property
    def exact(self) -> bool:
        """Whether the number does not depend on training."""
        return self.definition or self.measures in EXACT

    @property
    def trainable(self) -> bool:
        """Whether runs must be trained for it, and can be."""
        return self.runnable and not self.exact

    @property
    def group(self) -> str:
        """Where its verdict is counted: among the authors', quoted or exact numbers, or costs.

        Numbers that no paper prints are one's own, and counted nowhere.
        """
        if self.printed is None:
            return "own"
        if self.over is not None:
            return "costs"
        return "exact" if self.exact else "authors" if self.quoted is None else "quoted"

    @property
    def overlap(self) -> float:
        """Test samples over training samples, where each seed draws its own split."""
        return 0.0 if self.resampled is None else self.resampled / (1 - self.resampled)

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
        """The printed number itself."""
        assert self.printed is not None
        return float(self._parts[0].replace(",", ""))

    @property
    def spread(self) -> float | None:
        """The standard deviation printed beside the number."""
        return None if self._parts[1] is None else float(self._parts[1])

    @property
    def decimals(self) -> int:
        """The number of printed decimals; two if nothing is printed."""
        return 2 if self.printed is None else len(self._parts[0].partition(".")[2])

    @property
    def _parts(self) -> tuple[str, str | None]:
        match = _PRINTED.fullmatch(self.printed or "")
        return ("", None) if match is None else (match[1], match[2])
