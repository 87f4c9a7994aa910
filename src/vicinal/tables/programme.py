"""All runs that some tables need: their order, how long they take, which of them are kept."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from vicinal.tables.budget import Budget, Load, Stages, makespan
from vicinal.tables.cell import Cell
from vicinal.tables.jobs import Job
from vicinal.tables.lengths import Length
from vicinal.tables.value import Number, Place, Step, by_value, worths


@dataclass(frozen=True)
class Programme:
    """The runs of some cells, each once."""

    cells: tuple[Cell, ...]
    numbers: tuple[Number, ...]
    planned: tuple[Job, ...]
    lengths: Mapping[Place, Length]
    budget: Budget | None = None

    @cached_property
    def steps(self) -> list[Step]:
        """What is left to run, the most valuable first."""
        hours = {place: length.hours for place, length in self.lengths.items()}
        behind = [job.place for job in self.planned if job.started]
        return by_value(worths(self.numbers, self.left), hours, behind)

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """Every run, seed by seed; of a seed the most valuable first."""
        order = (place for step in self.steps for place in step.runs)
        rank = {place: number for number, place in enumerate(order)}
        return tuple(sorted(self.planned, key=lambda job: (job.seed, rank.get(job.place, -1))))

    @cached_property
    def left(self) -> set[Place]:
        """The runs that are not finished."""
        return {job.place for job in self.planned if job.state != "finished"}

    @cached_property
    def kept(self) -> set[Place]:
        """Those to launch: all that are left, or the most valuable that fit."""
        if self.budget is None:
            return self.left
        hours = {place: self.lengths[place].hours for place in self.left}
        return self.budget.kept(worths(self.numbers, self.left), hours, self.loads)

    def stages(self, kept: Collection[Place]) -> tuple[list[Job], list[Job]]:
        """The launches of these runs: without what needs other runs, and then the rest."""
        chosen = [job for job in self.jobs if job.place in kept]
        there = {job.place for job in self.planned if job.trained} | {*kept}
        return (
            [job for job in chosen if job.alone is not None],
            [job for job in chosen if job.others and job.others <= there],
        )

    def loads(self, kept: Collection[Place]) -> Stages:
        """How long the launches of these runs take."""
        first, then = self.stages(kept)
        of = self.lengths
        alone = (Load(of[job.place].alone, of[job.place].ranks) for job in first)
        rest = (Load(of[job.place].together, of[job.place].ranks) for job in then)
        return alone, rest

    def hours(self, places: Iterable[Place]) -> float:
        """The GPU-hours that runs have left; those of unknown length count as none."""
        return sum(length.hours for each in places if (length := self.lengths[each]).known)

    @property
    def duration(self) -> float:
        """Hours until the launches of the kept runs are over."""
        assert self.budget is not None
        return makespan(self.loads(self.kept), self.budget.gpus)
