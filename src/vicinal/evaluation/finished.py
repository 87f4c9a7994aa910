"""Measure a finished run from the weights that it keeps; each result is recorded at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from vicinal.data.dataset import RunData
from vicinal.evaluation.another import Another
from vicinal.evaluation.cost import Begin, Cost
from vicinal.evaluation.evaluation import Evaluation, Transferable
from vicinal.evaluation.measuring import Measuring, described
from vicinal.machine import ranks
from vicinal.machine.runtime import Runtime
from vicinal.storage import records, weights
from vicinal.storage.evaluations import key, missing
from vicinal.storage.records import digest
from vicinal.storage.run_folder import forget_checkpoints, write_record


@dataclass
class Finished:
    """A finished run, as evaluations need it. The caller holds the lock of its folder.

    All ranks make the same calls; rank zero reads, writes and prints.
    """

    folder: Path
    copy: Path  # of its record, among the results
    record: dict[str, Any]
    data: RunData
    runtime: Runtime
    build: Callable[[], nn.Module]
    loop: Begin  # for evaluations that time its steps

    def tidy(self) -> None:
        """Delete the checkpoints, which the weights replace; publish the record if it is not yet.

        An attempt may have died before either.
        """
        if ranks.is_main():
            if "weights" in self.record:  # runs of earlier versions kept none
                forget_checkpoints(self.folder)
            if not self.copy.exists():
                records.publish(self.copy, self.record)

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
            network, kept = self.network(report), self.record["weights"][report]
            for name in (name for of, name in lacking if of == report):
                evaluation, others = self._completed(evaluations[name], report)
                mark = digest([kept, others]) if others else kept["sha256"]
                measuring = Measuring(self.data, self.runtime, self.folder / "evaluations", mark)
                entry = measuring.entry(network, report, name, evaluation, configs[name])
                self._record(entry | others | {"epoch": kept["epoch"]})
                measuring.forget_parts(entry)

    def network(self, report: str = "last") -> nn.Module:
        """The network as it was at an epoch that papers report; one at a time."""
        kept = ranks.broadcast_object(lambda: weights.read(self.folder, self.record, report))
        self._built.load_state_dict(kept)
        return self._built

    def _completed(self, evaluation: Evaluation, report: str) -> tuple[Evaluation, dict[str, Any]]:
        """The evaluation with what it needs beside the network.

        That is the run's loop, or another run, of which the record says which it was.
        """
        if isinstance(evaluation, Cost):
            return evaluation.timed(self.loop), {}
        if not isinstance(evaluation, Transferable) or evaluation.source is None:
            return evaluation, {}
        above = self.record["name"].count("/") + 1  # NAME/seedK is below all runs
        another = Another.at(evaluation.source, self.folder.resolve().parents[above])
        network = another.network(report, self.data, self.runtime)
        transferred = evaluation.transferred(self.runtime.evaluated(network))
        return transferred, {"source": another.summary(report)}

    @cached_property
    def _built(self) -> nn.Module:
        return self.build()

    def _record(self, entry: dict[str, Any]) -> None:
        where = key(entry["name"], entry["report"], entry["config"])
        self.record["evaluations"][where] = entry
        if ranks.is_main():
            write_record(self.folder, self.record)
            records.publish(self.copy, self.record)
            print(f"{self.record['name']}, seed {self.record['seed']}: {described(entry)}")
