"""Real runs, in order of value: none starts that cannot end, and one that turns out slow stops.

Each is a process of `train.py`; when stopped, it writes a checkpoint and resumes from it when the
same line is run again, here or on another machine with a copy of the folder. OUT/runs.json has the
state of each.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from gpu_session.choose import MARGIN, Concurrency, Job, Measured
from gpu_session.pool import Row, read
from gpu_session.processes import ROOT, Child
from vicinal.launching.process import ending
from vicinal.storage.files import write_json_atomically

GRACE = 10.0  # seconds that a stopped run has to write its checkpoint
ENOUGH = 2  # epochs after the first, from which the length of the others is known
POLL = 0.2  # seconds
ALWAYS = ("runtime.progress=false", "runtime.checkpoint_seconds=60", "logger=none")


@dataclass
class Active:
    """A running run."""

    job: Job
    child: Child
    row: Row
    began: float
    before: int  # epochs already done when it started here
    first: tuple[float, int] | None = None  # when its first epoch here ended, and its number
    seen: int = 0  # epochs at the last poll
    pace: float | None = None  # seconds per epoch
    ends: float = 0.0  # at this pace
    reason: str | None = None  # why it was stopped


@dataclass
class Runs:
    """All runs of a plan."""

    out: Path
    jobs: Sequence[Job]
    words: Mapping[str, Sequence[str]]  # overrides by form
    environment: Mapping[str, str]
    together: Concurrency = field(default_factory=Concurrency)
    grace: float = GRACE
    script: Path = ROOT / "train.py"

    def work(self, deadline: float) -> None:
        """Start what can end in time, as long as anything can; none is running at the deadline."""
        last, news = deadline - self.grace, True
        self.rows: dict[str, Row] = read(self.out / "runs.json") or {}
        waiting = sorted(self.jobs, key=lambda job: epochs_done(self._folder(job)) == 0)
        active: list[Active] = []
        with ExitStack() as ended:
            while True:
                running = [run for run in active if not self._ended(run)]
                timed = [self._timed(run) for run in running]
                news |= len(running) < len(active) or any(timed)
                active = running
                news = news and self._fill(active, waiting, last, ended)
                if not active:
                    return
                for run in active:
                    self._stop_if_late(run, last, deadline)
                sleep(POLL)

    def _fill(
        self, active: list[Active], waiting: list[Job], last: float, ended: ExitStack
    ) -> bool:
        """Start runs while there is room for more; False once none can end in time."""
        while len(active) < self.together.count and monotonic() < last:
            run = self._next(waiting, last)
            if run is None:
                return False
            ended.enter_context(run.child)
            active.append(run)
        return True

    def _next(self, waiting: list[Job], last: float) -> Active | None:
        """Start the first that is not finished and can end in time."""
        known = Measured.under(self.out)
        for job in waiting:
            folder, left = self._folder(job), last - monotonic()
            done = epochs_done(folder)
            if (folder / "record.json").exists():
                row = self.rows.setdefault(f"{job['name']}-seed{job['seed']}", origin(job))
                row |= finished(folder)  # also if an earlier session was killed before it noted so
                continue
            expected = known.seconds(job, self.together, job["epochs"] - done)
            row = origin(job) | {
                "state": "unfinished" if done else "not started",
                "expected_seconds": expected,
            }
            self.rows[f"{job['name']}-seed{job['seed']}"] = row
            if job["missing"]:
                row["reason"] = job["missing"]
            elif expected is None:
                row["reason"] = "its network was not timed"
            elif expected * MARGIN > left:
                row["reason"] = "it could not have ended in the time left"
            else:
                waiting.remove(job)
                return self._start(job, row, known.fastest(job["name"].split("/")[1]))
        self._write()
        return None

    def _start(self, job: Job, row: Row, form: str) -> Active:
        words = [*job["line"], *self.words[form], *ALWAYS]
        name = f"{job['name'].replace('/', '-')}-seed{job['seed']}"
        row |= {"state": "running", "form": form, "at_once": self.together.count}
        self._write()
        command = [sys.executable, str(self.script), *words]
        log = self.out / "logs" / "runs" / f"{name}.log"
        child = Child(command, log, self.environment, self.out)
        return Active(job, child, row, monotonic(), epochs_done(self._folder(job)))

    def _timed(self, run: Active) -> bool:
        """Update a run's pace; whether it is now known for the first time.

        Its first epoch, which compiles, does not count.
        """
        folder = self._folder(run.job)
        done = epochs_done(folder)
        if done in (run.before, run.seen):
            return False
        run.seen, written = done, (folder / "history.jsonl").stat().st_mtime
        if run.first is None:
            run.first = (written, done)
        since, first = run.first
        if done - first < ENOUGH:
            return False
        news = run.pace is None
        run.pace = run.row["seconds_per_epoch"] = (written - since) / (done - first)
        run.ends = monotonic() + (run.job["epochs"] - done) * run.pace / MARGIN
        self._write()
        return news

    def _stop_if_late(self, run: Active, last: float, deadline: float) -> None:
        """Stop a run that cannot end in time at once, so that another can use the time left."""
        now = monotonic()
        if run.reason is not None:
            if now > deadline:
                run.child.kill()
        elif now > last:
            run.reason = "the time was over"
            run.child.stop()
        elif run.pace is not None and run.ends > last:
            run.reason = f"an epoch takes {run.pace:.2f} s, too long for the time left"
            run.child.stop()

    def _ended(self, run: Active) -> bool:
        if (code := run.child.code) is None:
            return False
        folder = self._folder(run.job)
        run.row |= {"seconds": monotonic() - run.began, "epochs": epochs_done(folder)}
        if code == 0:
            run.row |= finished(folder)
        elif run.reason is not None and any(folder.glob("checkpoints/*.pt")):
            run.row |= {"state": "unfinished", "reason": run.reason}
        else:
            run.row |= {"state": "failed", "reason": ending(code), "tail": run.child.tail}
        self._write()
        return True

    def _folder(self, job: Job) -> Path:
        return folder_of(self.out, job)

    def _write(self) -> None:
        write_json_atomically(self.out / "runs.json", self.rows)


def origin(job: Job) -> Row:
    """The name, seed and table of a run."""
    return {"name": job["name"], "seed": job["seed"], "table": job["table"]}


def finished(folder: Path) -> Row:
    """The state and metrics of a finished run, from its record."""
    record = json.loads((folder / "record.json").read_text())
    return {"state": "finished", "metrics": record["metrics"], "epochs": epochs_done(folder)}


def folder_of(out: Path, job: Job) -> Path:
    """The folder of a run."""
    return out / "runs" / job["name"] / f"seed{job['seed']}"


def left_to_do(out: Path, jobs: Sequence[Job]) -> list[Job]:
    """Runs that could be started or continued."""
    return [
        job
        for job in jobs
        if not job["missing"] and not (folder_of(out, job) / "record.json").exists()
    ]


def epochs_done(folder: Path) -> int:
    """How many epochs a run has done, finished or not."""
    history = folder / "history.jsonl"
    return history.read_bytes().count(b"\n") if history.exists() else 0
