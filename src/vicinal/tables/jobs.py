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
    needs_others: bool = False

    @property
    def place(self) -> tuple[str, int]:
        """What tells it from the others."""
        return self.run.name, self.seed


@dataclass
class Wanted:
    """What cells want of one run after its training, in their order."""

    run: PlannedRun
    seed: int
    names: dict[str, None] = field(default_factory=dict)  # of evaluations
    reports: dict[str, None] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)  # by evaluation, the run that it needs
    started: bool = False  # whether its training begins with the weights of another run

    @property
    def place(self) -> str:
        """The run, as evaluations of other runs name it."""
        return f"{self.run.name}/seed{self.seed}"

    def add(self, cell: Cell, source: str | None = None, started: bool = False) -> None:
        """Add what a cell wants."""
        self.started |= started
        if cell.evaluation is None:
            return
        self.reports[cell.report] = None
        self.names.update(dict.fromkeys((cell.evaluation, *cell.beside)))
        if source is not None:
            self.sources[cell.evaluation] = source

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


def progress(
    folder: Path, copy: Path, configs: Mapping[str, Any], reports: Sequence[str]
) -> tuple[str, int]:
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
