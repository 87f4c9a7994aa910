"""All evaluations side by side, each on the weights of one report, over the seeds of its run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from statistics import mean
from typing import Any

from vicinal.loggers.evaluations import headline, warnings
from vicinal.tables.markdown import grid
from vicinal.tables.runs import grouped, mean_and_spread

Record = Mapping[str, Any]
Entry = Mapping[str, Any]

HEAD = (
    *("dataset", "model", "method", "run", "evaluation", "report", "settings", "seeds"),
    *("numbers", "remarks"),
)


@dataclass(frozen=True)
class Measured:
    """What an evaluation with the same settings, on the same report, measured of a run's seeds."""

    run: str
    key: str  # NAME-REPORT-DIGEST, as in records
    entries: Sequence[Entry]  # one per seed
    reduced: bool

    @property
    def name(self) -> str:
        """The evaluation's."""
        return self.entries[0]["name"]

    @property
    def report(self) -> str:
        """On whose weights it was measured."""
        return self.entries[0]["report"]

    @property
    def config(self) -> Mapping[str, Any]:
        """The evaluation's settings; only those that change no number may differ between seeds."""
        return self.entries[0]["config"]

    @property
    def settings(self) -> str:
        """The digest of all settings that its numbers depend on."""
        return self.key.rpartition("-")[2]

    @property
    def generated(self) -> bool:
        """Whether the corrupted sets were made here, instead of those that papers measure."""
        target = self.config.get("sets", {}).get("_target_", "")
        return self.name == "corrupted" or target.endswith(".Generated")

    @property
    def numbers(self) -> Sequence[str]:
        """The names of the numbers that every seed has."""
        first, *others = (entry["metrics"] for entry in self.entries)
        return [name for name in first if all(name in each for each in others)]

    @property
    def warnings(self) -> list[str]:
        """What checks say against its numbers, for any seed."""
        said = (text for entry in self.entries for text in warnings(entry["metrics"]))
        return list(dict.fromkeys(said))

    def values(self, number: str) -> list[float]:
        """One number, by seed."""
        return [entry["metrics"][number] for entry in self.entries]


def measured(records: Iterable[Record]) -> list[Measured]:
    """Every evaluation of every run, in the order of their names."""
    found = list[Measured]()
    for run, seeds in grouped(records).items():
        groups = dict[str, list[Record]]()
        for seed in seeds:
            for key in seed.get("evaluations", ()):  # a failed run has none
                groups.setdefault(key, []).append(seed)
        for key, having in sorted(groups.items()):
            entries = [seed["evaluations"][key] for seed in having]
            reduced = any(seed["config"].get("reduced") for seed in having)
            found.append(Measured(run, key, entries, reduced))
    return found


def by_evaluation(records: Iterable[Record]) -> str:
    """A Markdown table with one row per run and evaluation; empty if nothing was measured."""
    rows = [_row(each) for each in measured(records)]
    return grid(HEAD, rows) if rows else ""


def _row(each: Measured) -> list[str]:
    values = {name: each.values(name) for name in headline(each.numbers)}
    numbers = [f"{name} {mean_and_spread(of, _decimals(mean(of)))}" for name, of in values.items()]
    marks = {"generated": each.generated, "reduced": each.reduced}
    remarks = [*(word for word, holds in marks.items() if holds), *each.warnings]
    settings = [each.name, each.report, each.settings, str(len(each.entries))]
    return [*each.run.split("/"), *settings, ", ".join(numbers), ", ".join(remarks)]


def _decimals(value: float) -> int:
    """Two, or as many as a number below 1 needs for four digits."""
    return 2 if abs(value) >= 1 or value == 0 else 3 - floor(log10(abs(value)))
