"""Weights & Biases."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb

from vicinal.loggers.evaluations import headlines, named
from vicinal.loggers.logger import RunIdentity, numbers

COLUMNS = ("evaluation", "report", "number", "value")


@dataclass
class Wandb:
    """One wandb run per run, grouped over seeds; a resumed run continues its wandb run.

    Offline if no API key is configured: `wandb sync` uploads it later. If anything in wandb fails,
    stderr says so once and the run continues without it.
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

    def start(self, run: RunIdentity) -> None:
        """Start the wandb run; waits at most `timeout_seconds` for the server."""
        with self._harmless():
            mode = _mode()
            self._run = wandb.init(
                project=self.project,
                entity=self.entity,
                id=run.id,
                name=run.name,
                group=run.group,
                config=run.config,
                resume="allow" if mode == "online" else None,  # offline would warn
                reinit="create_new",  # an earlier run of a sweep in this process may have failed
                settings=self._settings(run, mode),
            )
            if self._run.offline:
                later = f"wandb sync {Path(self._run.dir).parent}"
                print(f"wandb: offline; to upload later: {later}", file=sys.stderr)
            elif self._run.url:
                print(f"wandb: {self._run.url}", file=sys.stderr)

    def log(self, epoch: int, values: dict[str, float]) -> None:
        """Queue the values; another process sends them."""
        with self._harmless():
            if self._run is not None:
                self._run.log(values, step=epoch)

    def finish(self, record: dict[str, Any]) -> None:
        """Make what was measured the summary; waits at most `timeout_seconds` for uploads.

        Of evaluations, the summary has what stands for the whole, and a table has every number.
        """
        measured = dict(named(record))
        summary = numbers(record["metrics"])
        summary |= numbers({title: headlines(entry) for title, entry in measured.items()})
        rows = [
            [*title.split("/"), name, value]
            for title, entry in measured.items()
            for name, value in entry["metrics"].items()
        ]
        with self._harmless():
            if self._run is not None:
                self._run.summary.update(summary)
                if rows:  # not logged: that needs a step after those logged before
                    table = wandb.Table(columns=[*COLUMNS], data=rows)
                    self._run.summary.update({"evaluations": table})
                self._run.finish()
        self._run = None

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


def _mode() -> str:
    """The mode that the user set (WANDB_MODE, `wandb offline`); never prompts for a key."""
    # Silent before the login, which otherwise asks the server who we are.
    mode = wandb.setup(wandb.Settings(silent=True)).settings.mode
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        return "offline"
    return mode
