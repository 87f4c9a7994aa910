"""A table's plan: the runs its cells need, which of them are finished, what came of the rest."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig

from vicinal.cli.configs import build, check, parsed
from vicinal.cli.explain import complaint
from vicinal.cli.messages import listed
from vicinal.errors import BusyError, RunError
from vicinal.storage import records
from vicinal.storage.run_folder import read_record
from vicinal.tables.cell import Cell
from vicinal.tables.costs import Costs
from vicinal.tables.plan import Planned, name_run, parted
from vicinal.tables.table import Table, merge, names

# What is no part of the experiment, so that another value reduces no run.
FREE = ("runtime", "logger", "evaluation", "out", "results", "hydra")
FREE_KEYS = tuple(f"dataset.{key}" for key in records.NOT_SCIENCE)


@dataclass(frozen=True)
class Further:
    """What a command line says of which tables."""

    tables: tuple[str, ...]
    seeds: tuple[int, ...] | None  # None: each table's own
    everywhere: tuple[str, ...]  # machine, logger, folders
    reductions: tuple[tuple[str, ...], ...]  # alternatives, each a set of overrides
    only: tuple[str, ...] = ()  # labels that a cell's row and column must have
    dry_run: bool = False


@dataclass(frozen=True)
class Job:
    """One run of the plan."""

    run: Planned
    seed: int
    line: tuple[str, ...]
    state: str  # finished, failed (diverged), begun or missing


@dataclass
class Sweep:
    """The runs of some tables, each once, and how they end."""

    tables: Sequence[Table]
    further: Further
    compose: Callable[[Sequence[str]], DictConfig]
    jobs: list[Job] = field(init=False)
    failures: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Compose and check every run before the first begins; the first seeds come first."""
        found: dict[tuple[str, int], Job] = {}
        for cell in self.cells:
            for reduction in self.further.reductions if cell.trains else ():
                line = merge(cell.overrides, reduction, self.further.everywhere)
                if reduction:
                    line = (*line, f"reduced=[{','.join(map(_quoted, reduction))}]")
                run, roots = self._run(line)
                for seed in self.further.seeds or cell.seeds:
                    job = Job(run, seed, (*line, f"seed={seed}"), _state(run.name, seed, *roots))
                    found.setdefault((run.name, seed), job)
        self.jobs = sorted(found.values(), key=lambda job: job.seed)

    @property
    def cells(self) -> list[Cell]:
        """Those that were asked for."""
        every = [cell for table in self.tables for cell in table.cells]
        labels = {part for cell in every for part in cell.labels}
        for part in self.further.only:
            if part not in labels:
                where, known = ", ".join(self.further.tables), listed(part, labels)
                raise RunError(f"only: {where} has no label {part!r} (labels: {known})")
        return [cell for cell in every if set(self.further.only) <= cell.labels]

    @property
    def left(self) -> list[Job]:
        """The runs that are not finished."""
        return [job for job in self.jobs if job.state != "finished"]

    def plan(self) -> str:
        """What is to be done, and for how long."""
        cells = self.cells
        waiting = Counter(cell.waits for cell in cells if cell.waits is not None)
        trained = sum(cell.trains for cell in cells)
        counted = sum(cell.runnable and cell.exact for cell in cells)
        defined = sum(cell.definition for cell in cells)
        more = ((counted, "counted without a run"), (defined, "so by definition"))
        apart = "".join(f", {number} {how}" for number, how in more if number)
        lines = [
            *(f"table {table.name}: {table.caption}" for table in self.tables),
            f"{len(cells)} cells, {trained} can be run{apart}",
            *(f"  {count} wait for {why}" for why, count in sorted(waiting.items())),
            f"{len(self.jobs)} runs: {_states(self.jobs)}",
        ]
        by_run: dict[str, list[Job]] = {}
        for job in self.jobs:
            by_run.setdefault(job.run.name, []).append(job)
        costs, hours, unknown = self._costs(), 0.0, 0
        for name, jobs in sorted(by_run.items()):
            left = [job for job in jobs if job.state != "finished"]
            cost = costs.of(name, jobs[0].run.config) if left else None
            each = f", {cost}" if cost else ""
            lines.append(f"  {name}: {_states(jobs)}{each}")
            hours += cost.hours * len(left) if cost else 0
            unknown += 0 if cost else len(left)
        if self.left:
            more = f", and {unknown} runs of unknown length" if unknown else ""
            lines.append(f"{hours:.1f} GPU-hours{more}")
        return "\n".join(lines)

    def note(self, job: Sequence[str], error: Exception) -> None:
        """How a job ended that did not end well."""
        if isinstance(error, BusyError):
            self.busy.append(str(error))
        else:
            reason = complaint(error) or f"{type(error).__name__}: {error}"
            self.failures.append(f"{' '.join(job)}: {reason.splitlines()[0]}")

    def outcome(self) -> str:
        """What came of the jobs that were launched."""
        done = len(self.left) - len(self.failures) - len(self.busy)
        lines = [f"{done} of {len(self.left)} runs finished"]
        if self.busy:
            lines.append(f"{len(self.busy)} are another process's:")
            lines += [f"  {line}" for line in self.busy]
        return "\n".join(lines)

    def _run(self, line: tuple[str, ...]) -> tuple[Planned, tuple[Path, Path]]:
        config, choices = parted(self.compose(line))
        check(config, choices)
        built = build(config)
        run = name_run(line, config, choices)
        return run, (Path(built.out), Path(built.results))

    def _costs(self) -> Costs:
        results = {Path(job.run.config["results"]) for job in self.jobs} or {Path("results")}
        every = [record for folder in results for record in records.load(folder / "runs")]
        whole = [record for record in every if "failed" not in record]
        return Costs.known(whole, next(iter(results)) / "bench")


def further(arguments: Iterable[str]) -> Further:
    """Sort what was typed: the tables, the plan's own words, the machine's, reductions."""
    tables, seeds, only, everywhere, dry_run = (), None, (), [], False
    axes: list[list[str]] = []
    for line in arguments:
        override = parsed(line)
        key = override.key_or_group
        if key == "table":
            tables = _tables(line, override)
            continue
        values = [line]
        if override.is_sweep_override():
            values = [f"{key}={value}" for value in override.sweep_string_iterator()]
        if key == "seed":
            seeds = tuple(_seed(value) for value in values)
        elif key == "only":
            value = override.value()
            only = tuple(map(str, value if isinstance(value, list) else [value]))
        elif key == "dry_run":
            dry_run = bool(override.value())
        elif key in FREE_KEYS or key.partition(".")[0].partition("/")[0] in FREE:
            if len(values) > 1:
                raise RunError(f"{line}: {key} takes one value where a table is planned")
            everywhere.append(line)
        else:
            axes.append(values)
    return Further(tables, seeds, tuple(everywhere), tuple(product(*axes)), only, dry_run)


def _tables(line: str, override: Override) -> tuple[str, ...]:
    value = override.value()
    if not isinstance(value, Glob):
        every = override.is_sweep_override()
        return tuple(override.sweep_string_iterator()) if every else (str(value),)
    found = value.filter(names())
    if not found:
        known = listed(line.partition("=")[2], names())
        raise RunError(f"{line} fits no table (known: {known})")
    return tuple(found)


def _seed(line: str) -> int:
    value = line.partition("=")[2]
    if not value.isdigit():
        raise RunError(f"{line}: a seed must be a whole number")
    return int(value)


def _quoted(line: str) -> str:
    return "'" + line.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _state(name: str, seed: int, out: Path, results: Path) -> str:
    folder, copy = out / name / f"seed{seed}", records.published(str(results), name, seed)
    if read_record(folder) is not None:
        return "finished"
    if copy.exists():
        return "failed" if "failed" in records.read(copy) else "finished"
    return "begun" if (folder / "checkpoints").exists() else "missing"


def _states(jobs: Iterable[Job]) -> str:
    states: dict[str, list[int]] = {}
    for job in jobs:
        states.setdefault(job.state, []).append(job.seed)
    return ", ".join(f"{len(seeds)} {state}" for state, seeds in sorted(states.items())) or "none"
