"""How long what is left of each planned run takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from vicinal.storage.records import digest
from vicinal.tables.costs import Cost, Costs
from vicinal.tables.jobs import Job

BEGIN = 30 / 3600  # hours until the first step: data, network, compiling. Assumed, not measured


@dataclass(frozen=True)
class Length:
    """GPU-hours that a run has left; evaluations of unknown length count as none."""

    alone: float = 0.0  # without what needs other runs; inf if that is not known
    together: float = 0.0  # what needs them
    cost: Cost | None = None  # of the whole training
    unknown: int = 0  # evaluations

    @property
    def hours(self) -> float:
        """All of them."""
        return self.alone + self.together

    @property
    def known(self) -> bool:
        """Whether the length of its training is known."""
        return self.hours < inf

    @property
    def measured(self) -> bool:
        """Whether its training is known from earlier runs; evaluations are always estimated."""
        return self.cost is not None and self.cost.measured

    @property
    def ranks(self) -> int:
        """The fewest GPUs that it needs at once."""
        return 1 if self.cost is None else self.cost.ranks


@dataclass(frozen=True)
class Lengths:
    """The lengths of jobs; what seeds share is estimated once."""

    costs: Costs
    _trainings: dict[str, Cost | None] = field(default_factory=dict)
    _evaluations: dict[tuple[str, str], float | None] = field(default_factory=dict)

    def of(self, job: Job) -> Length:
        """What a job has left."""
        if job.state == "finished":
            return Length()
        cost = self._training(job)
        training = 0.0 if job.state == "trained" else inf if cost is None else BEGIN + cost.hours
        each = {name: self._evaluation(job, config) for name, config in job.configs.items()}
        share = job.unmeasured / max(len(each), 1)  # of all reports
        left = {name: share * hours for name, hours in each.items() if hours is not None}
        together = sum(hours for name, hours in left.items() if name in job.sourced)
        alone = training + sum(left.values()) - together
        unknown = len(each) - len(left) if job.unmeasured else 0
        if job.started:  # nothing of it can begin
            alone, together = 0.0, alone + together
        return Length(alone, together, cost, unknown)

    def _training(self, job: Job) -> Cost | None:
        name = job.run.name
        if name not in self._trainings:
            self._trainings[name] = self.costs.of(name, job.run.config)
        return self._trainings[name]

    def _evaluation(self, job: Job, config: Mapping[str, Any]) -> float | None:
        key = job.run.name, digest(config)
        if key not in self._evaluations:
            found = self.costs.of_evaluation(job.run.name, job.run.config, dict(config))
            self._evaluations[key] = found
        return self._evaluations[key]
