"""A table's plan: the runs that its cells need, which of them are finished, how the rest end."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vicinal.cli.configs import build, check, recorded
from vicinal.cli.failures import reason
from vicinal.cli.messages import listed
from vicinal.cli.overrides import join, merge
from vicinal.errors import BusyError, RunError
from vicinal.storage import records
from vicinal.tables.cell import Cell
from vicinal.tables.costs import Costs
from vicinal.tables.jobs import Configs, Job, Wanted, check_asked, job_of
from vicinal.tables.lengths import Lengths
from vicinal.tables.outline import outline
from vicinal.tables.plan import Composed, PlannedRun, begin_with, name_run, source_seed
from vicinal.tables.programme import Programme
from vicinal.tables.request import SweepRequest
from vicinal.tables.results import RecordIndex
from vicinal.tables.swept import beside_paper
from vicinal.tables.table import Table
from vicinal.tables.value import Number, Place, Runs

Folders = tuple[Path, Path]  # for runs and for results


@dataclass
class Sweep:
    """The runs of some tables, each once, and how they end."""

    tables: Sequence[Table]
    request: SweepRequest
    compose: Callable[[Sequence[str]], Composed]
    programme: Programme = field(init=False)
    failures: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    _stopped: set[Place] = field(default_factory=set)
    _networks: set[str] = field(default_factory=set)  # those that were built

    def __post_init__(self) -> None:
        """Compose and check every run before the first one starts."""
        check_run, check_evaluations = cache(self._check_run), cache(self._check_evaluations)
        wanted, folders, numbers = dict[Place, Wanted](), dict[str, Folders](), list[Number]()

        def want(lines: Sequence[str], reduction: Sequence[str], seed: int) -> Wanted:
            run, *places = check_run(self._overrides(lines, reduction))
            out, results = places
            folders.setdefault(run.name, (out, results))
            return wanted.setdefault((run.name, seed), Wanted(run, seed))

        for cell, asked in product(filter(_trainable, self.cells), self.request.reductions):
            seeds, reduction = dict[int, Runs](), cell.reduced_by(asked)
            for seed in self.request.seeds or cell.seeds:
                source = want(cell.source, reduction, source_seed(seed)) if cell.source else None
                start = want(cell.start, reduction, seed) if cell.start else None
                own = [
                    want(begin_with(cell.start, run, reduction), reduction, seed)
                    for run in cell.runs
                ]
                for each in own:
                    each.add(cell, source, start)
                needed = [*own, *filter(None, (source, start))]
                seeds[seed] = frozenset(each.place for each in needed)
            numbers.append(Number(cell, seeds))
        check_asked(self.request.evaluation, wanted.values())
        jobs = []
        for each in wanted.values():
            lines = each.overrides(self.request.evaluation)
            configs = check_evaluations(each.run.overrides, lines) if lines else {}
            jobs.append(job_of(each, *folders[each.run.name], self.request.evaluation, configs))
        self.programme = self._programme(numbers, jobs)

    @property
    def cells(self) -> list[Cell]:
        """The cells that the request asks for."""
        cells = [cell for table in self.tables for cell in table.cells]
        labels = {label for cell in cells for label in cell.labels}
        for label in self.request.only:
            if label not in labels:
                tables, known = ", ".join(self.request.tables), listed(label, labels)
                raise RunError(f"only must be labels of {tables}, got {label!r} (labels: {known})")
        return [cell for cell in cells if set(self.request.only) <= cell.labels]

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Every run with its seed, in the order of their launch."""
        return self.programme.jobs

    @property
    def unfinished(self) -> list[Job]:
        """The jobs to launch."""
        return [job for job in self.jobs if job.place in self.programme.kept]

    def stages(self, longest_first: bool = False) -> Iterator[list[tuple[Job, tuple[str, ...]]]]:
        """What to launch: first all that needs no other run, and once that is over the rest.

        Side by side, runs take the least time together if the longest begin; unknown ones before.
        """
        first, then = self.programme.stages(self.programme.kept)
        if longest_first:
            lengths = self.programme.lengths
            first = sorted(first, key=lambda job: -lengths[job.place].alone)
            then = sorted(then, key=lambda job: -lengths[job.place].together)
        yield [(job, job.alone) for job in first if job.alone is not None]
        yield [(job, job.overrides) for job in then if job.place not in self._stopped]

    def plan(self) -> str:
        """What the sweep will run, and for how long."""
        return outline(self.programme, self.tables, self.request.list_runs)

    def record_failure(self, job: Job, overrides: Sequence[str], error: Exception) -> None:
        """Remember a job that did not finish, and why."""
        self._stopped.add(job.place)
        if isinstance(error, BusyError):
            self.busy.append(str(error))
        else:
            self.failures.append(f"{' '.join(overrides)}: {reason(error).splitlines()[0]}")

    def summary(self) -> str:
        """How the launched jobs ended."""
        launched = len(self.unfinished)
        finished = launched - len(self.failures) - len(self.busy)
        lines = [f"{finished} of {launched} runs finished"]
        if self.busy:
            lines.append(f"{len(self.busy)} are held by another process:")
            lines += [f"  {line}" for line in self.busy]
        return "\n".join(lines)

    def numbers(self) -> str:
        """The cells that have a number of ours by now, beside the paper's."""
        index = RecordIndex(_recorded(_results(self.jobs)))
        return beside_paper(index.outcome(cell) for cell in self.cells)

    def _programme(self, numbers: Sequence[Number], jobs: Sequence[Job]) -> Programme:
        results = _results(jobs)
        found = _recorded(results)
        finished = [record for record in found if "failed" not in record]
        lengths = Lengths(Costs.known(finished, next(iter(results)) / "bench"))
        left = {job.place: lengths.of(job) for job in jobs}
        cells = tuple(self.cells)
        return Programme(cells, tuple(numbers), tuple(jobs), left, self.request.budget)

    def _overrides(self, run: Sequence[str], reduction: Sequence[str]) -> tuple[str, ...]:
        lines = merge(run, reduction, self.request.shared)
        return (*lines, join("reduced", reduction)) if reduction else lines

    def _check_run(self, overrides: tuple[str, ...]) -> tuple[PlannedRun, Path, Path]:
        config, choices = self.compose(overrides)
        check(config, choices)
        run = name_run(overrides, config, choices)
        built = self._build(config)
        return run, Path(built.out), Path(built.results)

    def _check_evaluations(self, run: tuple[str, ...], lines: tuple[str, ...]) -> Configs:
        """The configs of evaluations, by name."""
        config, choices = self.compose(lines)
        if "${" in str(OmegaConf.to_container(config.evaluation)):  # it copies from the run
            config, choices = self.compose((*run, *lines))
        check(config, choices)
        configs = recorded(config)["evaluation"]
        self._build(config)
        return configs

    def _build(self, config: DictConfig) -> Any:
        """Check what only constructors can.

        A network of each kind is built once: that takes ten times as long as all the rest.
        """
        network = str(OmegaConf.to_container(config.model, resolve=True))
        if network in self._networks:
            config.model = {"_target_": "torch.nn.Identity", "_partial_": True}
        self._networks.add(network)
        return build(config)


def _results(jobs: Sequence[Job]) -> set[Path]:
    """The folders of their records."""
    return {Path(job.run.config["results"]) for job in jobs} or {Path("runs/results")}


def _recorded(results: set[Path]) -> list[dict[str, Any]]:
    return [record for folder in results for record in records.load(folder / "runs")]


def _trainable(cell: Cell) -> bool:
    return cell.trainable
