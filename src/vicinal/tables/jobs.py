"""The runs that some cells need, each once: what is measured on them, and how far they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vicinal.cli.messages import listed
from vicinal.cli.overrides import parse
from vicinal.errors import RunError
from vicinal.storage import evaluations, records
from vicinal.storage.run_folder import read_record
from vicinal.tables.cell import Cell
from vicinal.tables.plan import PlannedRun
from vicinal.tables.value import Place

Configs = Mapping[str, Any]  # of evaluations, by name


@dataclass(frozen=True)
class Job:
    """One run of the plan, with its seed."""

    run: PlannedRun
    seed: int
    overrides: tuple[str, ...]
    state: str  # finished, failed (diverged), trained (not all is measured), started or missing
    evaluations: int = 0
    unmeasured: int = 0  # of them
    alone: tuple[str, ...] | None = None  # without what needs other runs; None: that is all done
    others: frozenset[Place] = frozenset()  # the runs that it needs
    started: bool = False  # whether its training needs one of them
    configs: Configs = field(default_factory=dict)
    sourced: frozenset[str] = frozenset()  # the evaluations that need other runs

    @property
    def place(self) -> Place:
        """What tells it from the others."""
        return self.run.name, self.seed

    @property
    def trained(self) -> bool:
        """Whether other runs can begin with it or attack it."""
        return self.state in ("finished", "trained")


@dataclass
class Wanted:
    """What cells want of one run after its training, in their order."""

    run: PlannedRun
    seed: int
    names: dict[str, None] = field(default_factory=dict)  # of evaluations
    reports: dict[str, None] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)  # by evaluation, the run that it needs
    others: set[Place] = field(default_factory=set)  # these runs, and the one that it begins with
    started: bool = False  # whether its training begins with the weights of another run

    @property
    def place(self) -> Place:
        """What tells it from the others."""
        return self.run.name, self.seed

    def add(
        self, cell: Cell, source: "Wanted | None" = None, start: "Wanted | None" = None
    ) -> None:
        """Add what a cell wants, and the runs that are attacked and begun with for it."""
        self.started |= start is not None
        self.others |= {each.place for each in (source, start) if each is not None}
        if cell.evaluation is None:
            return
        self.reports[cell.report] = None
        self.names.update(dict.fromkeys((cell.evaluation, *cell.beside)))
        if source is not None:
            self.sources[cell.evaluation] = f"{source.run.name}/seed{source.seed}"

    @property
    def asked_reports(self) -> list[str]:
        """Those of the cells; the last epoch for evaluations that none of them names."""
        return list(self.reports) or ["last"]

    def overrides(self, asked: Sequence[str], alone: bool = False) -> tuple[str, ...]:
        """The overrides that choose and set these evaluations, and those that are asked for.

        `alone` leaves out those that need another run.
        """
        names = dict.fromkeys([*self.names, *chosen(asked)])
        names = [name for name in names if not (alone and name in self.sources)]
        if not names:
            return ()
        sources = [f"evaluation.{name}.source={at}" for name, at in self.sources.items()]
        settings = [line for line in (*sources, *asked) if _about(line) in names]
        reports = ",".join(self.asked_reports)
        return (f"evaluation=[{','.join(names)}]", *settings, f"reports=[{reports}]")


def chosen(asked: Iterable[str]) -> list[str]:
    """The evaluations that `evaluation=NAME` or `evaluation=[NAME,NAME]` adds to every run."""
    values = [parse(line).value() for line in asked if _about(line) is None]
    return [str(name) for v in values for name in (v if isinstance(v, list) else [v])]


def check_asked(asked: Sequence[str], wanted: Iterable[Wanted]) -> None:
    """Refuse settings of evaluations that no run of the plan has."""
    names = [*chosen(asked), *(name for each in wanted for name in each.names)]
    for line in asked:
        if _about(line) not in (None, *names):
            known = listed(str(_about(line)), set(names)) or "none"
            raise RunError(f"{line}: these cells do not measure {_about(line)} (they do: {known})")


def _about(line: str) -> str | None:
    """The evaluation that an override sets something of; None if it chooses evaluations."""
    override = parse(line)
    parts = (override.package or override.key_or_group).split(".")
    return parts[1] if len(parts) > 1 else None


def job_of(wanted: Wanted, out: Path, results: Path, asked: Sequence[str], configs: Configs) -> Job:
    """How far a run is: its training, and what of its evaluations its record has."""
    run, seed, reports = wanted.run, wanted.seed, wanted.asked_reports
    folder, copy = out / run.name / f"seed{seed}", records.published(str(results), run.name, seed)
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
        others=frozenset(wanted.others),
        started=wanted.started,
        configs=configs,
        sourced=frozenset(wanted.sources),
    )


def progress(folder: Path, copy: Path, configs: Configs, reports: Sequence[str]) -> tuple[str, int]:
    """The state of the run in a folder, and how many of these evaluations it lacks.

    `copy` is its record among the results. Without the folder's weights, it cannot be measured.
    """
    found = read_record(folder)
    record = found or records.read_if_there(copy)
    if record is None:
        missing = len(configs) * len(reports)
        return ("started" if (folder / "checkpoints").exists() else "missing"), missing
    if "failed" in record:
        return "failed", len(configs) * len(reports)
    missing = len(evaluations.missing(record, configs, reports))
    if not missing:
        return "finished", 0
    return ("trained" if found else "missing"), missing
