"""A table's plan: the runs that its cells need, which of them are finished, how the rest end."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vicinal.cli.configs import build, check, recorded
from vicinal.cli.failures import user_message
from vicinal.cli.messages import listed
from vicinal.cli.overrides import join, merge
from vicinal.errors import BusyError, RunError
from vicinal.storage import records
from vicinal.tables.cell import Cell
from vicinal.tables.costs import Cost, Costs
from vicinal.tables.jobs import Job, Wanted, check_asked, progress
from vicinal.tables.plan import PlannedRun, begin_with, name_run, source_seed, split_hydra
from vicinal.tables.request import SweepRequest
from vicinal.tables.table import Table

Checked = tuple[PlannedRun, Path, Path]  # its folders for runs and for results, too
Configs = Mapping[str, Any]  # of evaluations, by name


@dataclass
class Sweep:
    """The runs of some tables, each once, and how they end."""

    tables: Sequence[Table]
    request: SweepRequest
    compose: Callable[[Sequence[str]], DictConfig]
    jobs: list[Job] = field(init=False)
    failures: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    _stopped: set[tuple[str, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Compose and check every run before the first one starts; sort them by seed."""
        check_run, check_evaluations = cache(self._check_run), cache(self._check_evaluations)
        runs, wanted = dict[str, Checked](), dict[tuple[str, int], Wanted]()

        def want(lines: Sequence[str], reduction: Sequence[str], seed: int) -> Wanted:
            checked = check_run(self._overrides(lines, reduction))
            run, *_ = runs.setdefault(checked[0].name, checked)
            return wanted.setdefault((run.name, seed), Wanted(run, seed))

        cells = [(cell, run) for cell in self.cells if cell.trainable for run in cell.runs]
        for (cell, run), reduction in product(cells, self.request.reductions):
            for seed in self.request.seeds or cell.seeds:
                source = want(cell.source, reduction, source_seed(seed)) if cell.source else None
                start = want(cell.start, reduction, seed) if cell.start else None
                lines = begin_with(cell.start, run, reduction)
                want(lines, reduction, seed).add(cell, source and source.place, bool(start))
        check_asked(self.request.evaluation, wanted.values())
        jobs = []
        for each in wanted.values():
            lines = each.overrides(self.request.evaluation)
            configs = check_evaluations(each.run.overrides, lines) if lines else {}
            jobs.append(_job(runs[each.run.name], each, self.request.evaluation, configs))
        self.jobs = sorted(jobs, key=lambda job: job.seed)

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
    def unfinished(self) -> list[Job]:
        """The jobs to launch."""
        return [job for job in self.jobs if job.state != "finished"]

    def stages(self) -> Iterator[list[tuple[Job, tuple[str, ...]]]]:
        """What to launch: first all that needs no other run, and once that is over the rest."""
        yield [(job, job.alone) for job in self.unfinished if job.alone is not None]
        yield [
            (job, job.overrides)
            for job in self.unfinished
            if job.needs_others and job.place not in self._stopped
        ]

    def plan(self) -> str:
        """What the sweep will run, and for how long."""
        cells = self.cells
        num_trainable = sum(cell.trainable for cell in cells)
        num_counted = sum(cell.runnable and cell.exact for cell in cells)
        num_definitions = sum(cell.definition for cell in cells)
        others = ((num_counted, "counted without a run"), (num_definitions, "by definition"))
        rest = "".join(f", {number} {how}" for number, how in others if number)
        unavailable = Counter(cell.unavailable for cell in cells if cell.unavailable is not None)
        lines = [
            *(f"table {table.name}: {table.caption}" for table in self.tables),
            f"{len(cells)} cells, {num_trainable} can be run{rest}",
            *(f"  {count} cannot: {why}" for why, count in sorted(unavailable.items())),
            f"{len(self.jobs)} runs: {_states(self.jobs)}",
        ]
        if evaluations := sum(job.evaluations for job in self.jobs):
            unmeasured = sum(job.unmeasured for job in self.jobs)
            lines.append(f"{evaluations} evaluations of them: {unmeasured} missing")
        return "\n".join([*lines, *self._plan_runs()])

    def record_failure(self, job: Job, overrides: Sequence[str], error: Exception) -> None:
        """Remember a job that did not finish, and why."""
        self._stopped.add(job.place)
        if isinstance(error, BusyError):
            self.busy.append(str(error))
        else:
            reason = user_message(error) or f"{type(error).__name__}: {error}"
            self.failures.append(f"{' '.join(overrides)}: {reason.splitlines()[0]}")

    def summary(self) -> str:
        """How the launched jobs ended."""
        launched = len(self.unfinished)
        finished = launched - len(self.failures) - len(self.busy)
        lines = [f"{finished} of {launched} runs finished"]
        if self.busy:
            lines.append(f"{len(self.busy)} are held by another process:")
            lines += [f"  {line}" for line in self.busy]
        return "\n".join(lines)

    def _overrides(self, run: Sequence[str], reduction: Sequence[str]) -> tuple[str, ...]:
        lines = merge(run, reduction, self.request.shared)
        return (*lines, join("reduced", reduction)) if reduction else lines

    def _check_run(self, overrides: tuple[str, ...]) -> Checked:
        config, choices = self._composed(overrides)
        check(config, choices)
        built = build(config)
        return name_run(overrides, config, choices), Path(built.out), Path(built.results)

    def _check_evaluations(self, run: tuple[str, ...], lines: tuple[str, ...]) -> Configs:
        """The configs of evaluations, by name."""
        config, choices = self._composed(lines)
        if "${" in str(OmegaConf.to_container(config.evaluation)):  # it copies from the run
            config, choices = self._composed((*run, *lines))
        check(config, choices)
        build(config)
        return recorded(config)["evaluation"]

    def _composed(self, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
        return split_hydra(self.compose(overrides))

    def _plan_runs(self) -> Iterator[str]:
        """A line per run with its cost, and the total."""
        jobs: dict[str, list[Job]] = {}
        for job in self.jobs:
            jobs.setdefault(job.run.name, []).append(job)
        costs, hours, num_unknown = self._costs(), 0.0, 0
        for name, seeds in sorted(jobs.items()):
            num_left = sum(job.state not in ("finished", "trained") for job in seeds)
            cost: Cost | None = costs.of(name, seeds[0].run.config) if num_left else None
            yield f"  {name}: {_states(seeds)}" + (f", {cost}" if cost else "")
            hours += cost.hours * num_left if cost else 0
            num_unknown += 0 if cost else num_left
        if self.unfinished:
            unknown = f", and {num_unknown} runs of unknown length" if num_unknown else ""
            yield f"{hours:.1f} GPU-hours{unknown}"

    def _costs(self) -> Costs:
        results = {Path(job.run.config["results"]) for job in self.jobs} or {Path("results")}
        found = [record for folder in results for record in records.load(folder / "runs")]
        finished = [record for record in found if "failed" not in record]
        return Costs.known(finished, next(iter(results)) / "bench")


def _job(checked: Checked, wanted: Wanted, asked: Sequence[str], configs: Configs) -> Job:
    (run, out, results), seed = checked, wanted.seed
    folder, copy = out / run.name / f"seed{seed}", records.published(str(results), run.name, seed)
    reports = wanted.asked_reports
    state, unmeasured = progress(folder, copy, configs, reports)
    alone_state = state
    if wanted.sources:
        own = {name: config for name, config in configs.items() if name not in wanted.sources}
        alone_state, _ = progress(folder, copy, own, reports)
    overrides, alone = (
        (*run.overrides, *wanted.overrides(asked, alone=alone), f"seed={seed}")
        for alone in (False, True)
    )
    return Job(
        run,
        seed,
        overrides,
        state,
        evaluations=len(configs) * len(reports),
        unmeasured=unmeasured,
        alone=None if wanted.started or alone_state == "finished" else alone,
        needs_others=wanted.started or bool(wanted.sources),
    )


def _states(jobs: Iterable[Job]) -> str:
    counts = Counter(job.state for job in jobs)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"
