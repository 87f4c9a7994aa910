"""Measure one evaluation on a network, with what a record says about it."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vicinal.data.dataset import RunData
from vicinal.draws import Rng
from vicinal.evaluation.cost import Timed
from vicinal.evaluation.evaluation import Evaluation, Numbers, Tabulated
from vicinal.loggers.evaluations import headline, warnings
from vicinal.machine import ranks
from vicinal.machine.runtime import Runtime
from vicinal.storage.evaluations import KeptParts, KeptRows, check_finite, key
from vicinal.storage.provenance import provenance

SEED = 0  # of what evaluations draw: the same for every network


@dataclass(frozen=True)
class Measuring:
    """The data and the machine of measurements on one network, whose weights have a checksum.

    Parts of an unfinished one are kept in `folder` under that checksum, so that no other network
    takes them; where they are rows of a table, they stay afterwards. All ranks make the same calls
    and get the same numbers.
    """

    data: RunData
    runtime: Runtime
    folder: Path
    checksum: str

    def entry(
        self, network: nn.Module, report: str, name: str, evaluation: Evaluation, config: Any
    ) -> dict[str, Any]:
        """Measure the evaluation of that name and config; its numbers and where they come from."""
        path, title = self._parts(name, report, config), f"{name}, {report}"
        if isinstance(evaluation, Tabulated):
            table = path.with_suffix(".tsv")
            parts = KeptRows(table, title, self.runtime.progress, evaluation.columns)
        else:
            parts = KeptParts(path, title, self.runtime.progress)
        rng = Rng.seeded(SEED, device=self.runtime.target)
        # Around the steps of a loop, which have their own, autocast would keep weights of before.
        own = isinstance(evaluation, Timed)
        with nullcontext() if own else self.runtime.autocast():
            found = evaluation(self.runtime.evaluated(network), self.data, rng, parts)
        check_finite(title, found)
        return {
            "name": name,
            "config": config,
            "report": report,
            "metrics": found,
            "ranks": ranks.world_size(),
            "origin": provenance(self.runtime.target),
            "runtime": self.runtime.summary(),
        }

    def forget_parts(self, entry: Mapping[str, Any]) -> None:
        """Delete the parts of an evaluation, once its numbers are written; a table stays."""
        self._parts(entry["name"], entry["report"], entry["config"]).unlink(missing_ok=True)

    def _parts(self, name: str, report: str, config: Any) -> Path:
        return self.folder / f"{key(name, report, config)}-{self.checksum[:12]}.json"


def described(entry: Mapping[str, Any]) -> str:
    """An evaluation in one line, `cifar10_c, last: robust_accuracy 74.75, …`; warnings follow."""
    metrics: Numbers = entry["metrics"]
    shown = [f"{each} {metrics[each]:.4g}" for each in headline(metrics)]
    more = [f"and {hidden} more"] if (hidden := len(metrics) - len(shown)) else []
    line = f"{entry['name']}, {entry['report']}: {', '.join(shown + more)}"
    return "\n".join([line, *(f"  warning: {text}" for text in warnings(metrics))])
