"""Measure a finished run from the weights that it keeps; each result is recorded at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

from torch import nn

from vicinal.data.split import Data
from vicinal.draws import Rng
from vicinal.evaluation.evaluation import Evaluation, Numbers
from vicinal.machine import ranks
from vicinal.machine.runtime import Runtime
from vicinal.storage import records, weights
from vicinal.storage.evaluations import KeptParts, check_finite, key, missing
from vicinal.storage.provenance import provenance
from vicinal.storage.run_folder import write_record

SHOWN = 8  # numbers that are printed; a record has all
SEED = 0  # of what evaluations draw: the same for every run


@dataclass
class Finished:
    """A finished run, as evaluations need it. The caller holds the lock of its folder.

    All ranks make the same calls; rank zero reads, writes and prints.
    """

    folder: Path
    copy: Path  # of its record, among the results
    record: dict[str, Any]
    data: Data
    runtime: Runtime
    build: Callable[[], nn.Module]

    def lacking(self, configs: Mapping[str, Any], reports: Sequence[str]) -> list[tuple[str, str]]:
        """The reports and evaluations that the record lacks, report by report."""
        return missing(self.record, configs, reports)

    def measure(
        self,
        lacking: Sequence[tuple[str, str]],
        evaluations: Mapping[str, Evaluation],
        configs: Mapping[str, Any],
    ) -> None:
        """Measure what the record lacks; an evaluation that was interrupted goes on."""
        for report in dict.fromkeys(report for report, _ in lacking):
            network = self.network(report)
            for name in (name for of, name in lacking if of == report):
                self._measure(network, report, name, evaluations[name], configs[name])

    def network(self, report: str = "last") -> nn.Module:
        """The network as it was at an epoch that papers report; one at a time."""
        kept = ranks.broadcast_object(lambda: weights.read(self.folder, self.record, report))
        self._built.load_state_dict(kept)
        return self._built

    @cached_property
    def _built(self) -> nn.Module:
        return self.build()

    def _measure(
        self, network: nn.Module, report: str, name: str, evaluation: Evaluation, config: Any
    ) -> None:
        where, began = key(name, report, config), monotonic()
        path = self.folder / "evaluations" / f"{where}.json"
        parts = KeptParts(path, f"{name}, {report}", self.runtime.progress)
        rng = Rng.seeded(SEED, device=self.runtime.target)
        with self.runtime.autocast():
            found = evaluation(self.runtime.evaluated(network), self.data, rng, parts)
        check_finite(f"{name}, {report}", found)
        entry = {
            "name": name,
            "config": config,
            "report": report,
            "epoch": self.record["weights"][report]["epoch"],
            "metrics": found,
            "seconds": monotonic() - began,
            "origin": {"ranks": ranks.world_size(), **provenance(self.runtime.target)},
            "runtime": self.runtime.summary(),
        }
        self.record["evaluations"][where] = entry
        if ranks.is_main():
            write_record(self.folder, self.record)
            records.publish(self.copy, self.record)
            parts.forget()
            print(f"{self.record['name']}, seed {self.record['seed']}: {described(entry)}")


def described(entry: Mapping[str, Any]) -> str:
    """An evaluation in one line: `corrupted, last, epoch 200: robust_accuracy 74.75, …`."""
    metrics: Numbers = entry["metrics"]
    short = sorted(metrics, key=lambda each: (each.count("_"), len(each)))[:SHOWN]
    shown = [f"{each} {value:.4g}" for each, value in metrics.items() if each in short]
    more = [f"and {len(metrics) - SHOWN} more"] if len(metrics) > SHOWN else []
    return f"{entry['name']}, {entry['report']}, epoch {entry['epoch']}: " + ", ".join(shown + more)
