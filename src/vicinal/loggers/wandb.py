"""Weights & Biases."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb

from vicinal.loggers.evaluations import headlines, named
from vicinal.loggers.logger import Beside, RunIdentity, numbers

COLUMNS = ("evaluation", "report", "number", "value")
PAPERS = ("table", "label", "paper", "ours", "difference", "note")


@dataclass
class Wandb:
    """One wandb run per run, grouped over seeds; a resumed run continues its wandb run.

    Offline if no API key is configured: `wandb sync` uploads it later. If anything in wandb fails,
    stderr says so once and the run continues without it. If an agent of a sweep started this
    process, the wandb run is the agent's.
    """

    project: str = "vicinal"
    entity: str | None = None
    timeout_seconds: float = 30.0
    _run: "wandb.Run | None" = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.timeout_seconds <= 0:
            raise ValueError(
                f"timeout_seconds must be above 0, got {self.timeout_seconds} "
                "(0 would wait forever)"
            )

    @property
    def place(self) -> str:
        """The project; under an agent its own run, since another one may show the same of ours."""
        if (given := _given_by_agent()) is not None:
            return f"wandb, run {given} of a sweep"
        return f"wandb, project {'/'.join(filter(None, (self.entity, self.project)))}"

    def start(self, run: RunIdentity) -> None:
        """Start the wandb run; waits at most `timeout_seconds` for the server."""
        with self._harmless():
            mode = _mode()
            if mode == "online":
                wait = f"for at most {self.timeout_seconds:g} s"
                print(f"wandb: contacting the server, {wait}", file=sys.stderr)
            self._run = wandb.init(
                **self._who(run),
                name=run.name,
                resume="allow" if mode == "online" else None,  # offline would warn
                reinit="create_new",  # an earlier run of a sweep in this process may have failed
                settings=self._settings(run, mode),
            )
            if self._run.offline:
                later = f"wandb sync {Path(self._run.dir).parent}"
                print(f"wandb: offline; to upload later: {later}", file=sys.stderr)
            elif self._run.url:
                print(f"wandb: {self._run.url}", file=sys.stderr)

    def _who(self, run: RunIdentity) -> dict[str, Any]:
        """Which wandb run it is, and its config.

        An agent has chosen the id, project and entity of its run, and its user perhaps a group. The
        values of the sweep replace those of the same key in the config, whole nodes as well.
        """
        if _given_by_agent() is not None:
            return {"config": {**run.config, "run": run.name, "group": run.group}}
        who = {"id": run.id, "project": self.project, "entity": self.entity, "group": run.group}
        return {**who, "config": run.config}

    def log(self, epoch: int, values: dict[str, float]) -> None:
        """Queue the values; another process sends them."""
        with self._harmless():
            if self._run is not None:
                self._run.log(values, step=epoch)

    def finish(self, record: dict[str, Any], beside: Sequence[Beside]) -> bool:
        """Make what was measured the summary; waits at most `timeout_seconds` for uploads.

        Of evaluations, the summary has what stands for the whole, and a table has every number.
        """
        finished = False
        with self._harmless():
            if self._run is not None:
                self._run.summary.update(_summary(record, beside))
                self._run.finish()
                finished = not self._run.disabled
        self._run = None
        return finished

    def _settings(self, run: RunIdentity, mode: str) -> wandb.Settings:
        return wandb.Settings(
            mode=mode,  # pyright: ignore[reportArgumentType]
            root_dir=str(run.folder),
            silent=True,
            console="off",  # it would record our progress bar
            disable_git=True,  # the record has the commit, and only that of our source
            init_timeout=self.timeout_seconds,
            finish_timeout=self.timeout_seconds,
        )

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Catch any exception: wandb raises its own errors, the network's and its process's.

        Days of training must not end with a service, and the history has all values anyway.
        """
        try:
            yield
        except Exception as error:
            self._run = None
            reason = (str(error).splitlines() or [""])[0]
            print(
                f"wandb: no longer logging, the run goes on ({type(error).__name__}: {reason})",
                file=sys.stderr,
            )


def _summary(record: Mapping[str, Any], beside: Sequence[Beside]) -> dict[str, Any]:
    """Numbers, and tables; these are not logged, which needs a step after those logged before."""
    measured = dict(named(record))
    summary: dict[str, Any] = numbers(record["metrics"])
    summary |= numbers({title: headlines(entry) for title, entry in measured.items()})
    rows = [
        [*title.split("/"), name, value]
        for title, entry in measured.items()
        for name, value in entry["metrics"].items()
    ]
    if rows:
        summary["evaluations"] = wandb.Table(columns=[*COLUMNS], data=rows)
    for each in beside:
        summary |= each.numbers
    if beside:
        printed = [[getattr(each, column) for column in PAPERS] for each in beside]
        summary["papers"] = wandb.Table(columns=[*PAPERS], data=printed)
    return summary


def _given_by_agent() -> str | None:
    """The id of the wandb run for which a sweep's agent started this process."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def _mode() -> str:
    """The mode that the user set (WANDB_MODE, `wandb offline`); never prompts for a key."""
    # Silent before the login, which otherwise asks the server who we are.
    mode = wandb.setup(wandb.Settings(silent=True)).settings.mode
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        return "offline"
    return mode
