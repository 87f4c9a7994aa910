"""The end of a sweep: its configurations side by side, over their seeds, and what failed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from vicinal.cli.failures import reason
from vicinal.cli.overrides import key_of
from vicinal.storage import records
from vicinal.storage.run_folder import read_record
from vicinal.tables.markdown import difference, our_number
from vicinal.tables.outcome import Outcome
from vicinal.tables.outline import grid
from vicinal.tables.plan import name_run
from vicinal.tables.runs import mean_and_spread, measure_of

Record = Mapping[str, Any]

SHOWN = {"top1": "{} %", "average_precision": "AP {} %", "perplexity": "perplexity {}"}


@dataclass(frozen=True)
class SweptJob:
    """One job of a sweep, and what it left: a record, or the reason why it failed."""

    overrides: tuple[str, ...]
    record: Record | None = None
    failure: str | None = None


def job_of(job: JobReturn) -> SweptJob:
    """What a job left on disk."""
    overrides = tuple(job.overrides or ())
    if job.status is not JobStatus.COMPLETED:
        said = reason(job._return_value)  # the property raises it
        return SweptJob(overrides, failure=said.splitlines()[0])
    assert job.cfg is not None
    assert job.hydra_cfg is not None
    run = name_run(overrides, job.cfg, job.hydra_cfg.hydra.runtime.choices)
    folder = Path(job.cfg.out, run.name, f"seed{job.cfg.seed}")
    copy = records.published(job.cfg.results, run.name, job.cfg.seed)
    return SweptJob(overrides, read_record(folder) or records.read_if_there(copy))


def compared(jobs: Sequence[SweptJob]) -> str:
    """A line per configuration, the best first, and one per failure; each ends its line."""
    varied, lines = _varied(jobs), list[str]()
    groups: dict[str, list[Record]] = {}
    for job in jobs:
        if job.record is not None:
            label = _label(job, varied - {"seed"}) or job.record["name"]
            groups.setdefault(label, []).append(job.record)
    if groups:
        split = "valid" if all(_last(seeds, "valid") for seeds in groups.values()) else "test"
        found = sorted(groups.items(), key=lambda each: _rank(each[1], split))
        splits = [
            each for each in ("valid", "test") if any(_last(seeds, each) for _, seeds in found)
        ]
        lines.append(f"mean ± standard deviation over seeds, the best {split} first:")
        lines += [f"  {line}" for line in grid(_row(*each, splits) for each in found)]
    failed = [f"  {_label(job, varied)}: {job.failure}" for job in jobs if job.failure]
    if failed:
        lines += [f"{len(failed)} of {len(jobs)} runs failed:", *failed]
    return "".join(f"{line}\n" for line in lines)


def beside_paper(outcomes: Iterable[Outcome]) -> str:
    """The numbers of a table that runs have, each with the paper's, and what may be said of it."""
    rows = [
        (each.cell.label, each.cell.printed or "", our_number(each), difference(each), each.verdict)
        for each in outcomes
        if each.values
    ]
    head = ("mean ± standard deviation (seeds)", "paper", "ours", "difference", "verdict")
    return "".join(f"{line}\n" for line in (grid([head, *rows]) if rows else ()))


def _varied(jobs: Sequence[SweptJob]) -> set[str]:
    """The settings that are not the same in all jobs."""
    lines = {key_of(line): line for job in jobs for line in job.overrides}
    return {key for key, line in lines.items() if any(line not in job.overrides for job in jobs)}


def _label(job: SweptJob, keys: set[str]) -> str:
    return " ".join(line for line in job.overrides if key_of(line) in keys)


def _row(label: str, seeds: Sequence[Record], splits: Sequence[str]) -> tuple[str, ...]:
    form = SHOWN[measure_of(seeds[0])]
    spreads = {split: mean_and_spread(_last(seeds, split)) for split in splits}
    numbers = [f"{split} {form.format(each)}" if each else "" for split, each in spreads.items()]
    return label, *numbers, f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"


def _rank(seeds: Sequence[Record], split: str) -> float:
    """The mean over seeds; smaller is better."""
    average = mean(_last(seeds, split))
    return -average if measure_of(seeds[0]) in records.HIGHER else average


def _last(seeds: Sequence[Record], split: str) -> list[float]:
    """What the last epochs reached on a split, which not all runs have."""
    key = f"{split}_{measure_of(seeds[0])}"
    return [each["curves"][key][-1] for each in seeds if key in each["curves"]]
