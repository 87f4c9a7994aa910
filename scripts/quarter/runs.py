"""Real runs, in order of value: none is begun that cannot end, and one that turns out slow stops.

Each is `train.py` in a process of its own; stopped, it leaves a checkpoint and goes on from there
when the same line is run again, here or on another machine that has the folder. OUT/runs.json says
of each what became of it.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from quarter.choose import MARGIN, Crowd, Job, Measured
from quarter.pool import Row, read
from quarter.processes import ROOT, Child, ending
from vicinal.storage.files import write_json_atomically

GRACE = 10.0  # seconds in which a run that is stopped writes its checkpoint
SEEN = 2  # epochs after the first, which tell how long the others take
LOOKS = 0.2  # seconds
ALWAYS = ("runtime.progress=false", "runtime.checkpoint_seconds=60", "logger=none")


@dataclass
class Active:
    """A run under way."""

    job: Job
    child: Child
    row: Row
    began: float
    before: int  # epochs that were done when it began
    first: tuple[float, int] | None = None  # when its first epoch was done, and which
    seen: int = 0  # epochs at the last look
    pace: float | None = None  # seconds of an epoch
    ends: float = 0.0  # by this pace
    reason: str | None = None  # why it was told to stop


@dataclass
class Runs:
    """The runs of a plan."""

    out: Path
    jobs: Sequence[Job]
    words: Mapping[str, Sequence[str]]  # the overrides of a form
    environment: Mapping[str, str]
    together: Crowd = field(default_factory=Crowd)
    grace: float = GRACE
    script: Path = ROOT / "train.py"

    def work(self, deadline: float) -> None:
        """Begin what can end, as long as anything can; at the deadline none is under way."""
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
                while news and len(active) < self.together.count and monotonic() < last:
                    run = self._next(waiting, last)
                    if run is None:
                        news = False
                    else:
                        ended.enter_context(run.child)
                        active.append(run)
                if not active:
                    return
                for run in active:
                    self._stop_if_late(run, last, deadline)
                sleep(LOOKS)

    def _next(self, waiting: list[Job], last: float) -> Active | None:
        """The first that is not finished and can end, begun."""
        known = Measured.under(self.out)
        for job in waiting:
            folder, left = self._folder(job), last - monotonic()
            done = epochs_done(folder)
            if (folder / "record.json").exists():
                row = self.rows.setdefault(f"{job['name']}-seed{job['seed']}", origin(job))
                row |= finished(folder)  # also where whoever made it was killed before it said so
                continue
            expected = known.seconds(job, self.together, job["epochs"] - done)
            row = origin(job) | {
                "state": "begun" if done else "not begun",
                "expected_seconds": expected,
            }
            self.rows[f"{job['name']}-seed{job['seed']}"] = row
            if job["missing"]:
                row["reason"] = job["missing"]
            elif expected is None:
                row["reason"] = "its network was not timed"
            elif expected * MARGIN > left:
                row["reason"] = "it could not have ended in what was left"
            else:
                waiting.remove(job)
                return self._begin(job, row, known.fastest(job["name"].split("/")[1]))
        self._write()
        return None

    def _begin(self, job: Job, row: Row, form: str) -> Active:
        words = [*job["line"], *self.words[form], *ALWAYS]
        name = f"{job['name'].replace('/', '-')}-seed{job['seed']}"
        row |= {"state": "under way", "form": form, "at_once": self.together.count}
        self._write()
        command = [sys.executable, str(self.script), *words]
        log = self.out / "logs" / "runs" / f"{name}.log"
        child = Child(command, log, self.environment, self.out)
        return Active(job, child, row, monotonic(), epochs_done(self._folder(job)))

    def _timed(self, run: Active) -> bool:
        """See how far it is; whether it is now known, for the first time, how long epochs take.

        Its first epoch, which compiles, is left out.
        """
        folder = self._folder(run.job)
        done = epochs_done(folder)
        if done in (run.before, run.seen):
            return False
        run.seen, written = done, (folder / "history.jsonl").stat().st_mtime
        if run.first is None:
            run.first = (written, done)
        since, first = run.first
        if done - first < SEEN:
            return False
        news = run.pace is None
        run.pace = run.row["seconds_per_epoch"] = (written - since) / (done - first)
        run.ends = monotonic() + (run.job["epochs"] - done) * run.pace / MARGIN
        self._write()
        return news

    def _stop_if_late(self, run: Active, last: float, deadline: float) -> None:
        """One that cannot end is stopped at once, so that what is left serves another."""
        now = monotonic()
        if run.reason is not None:
            if now > deadline:
                run.child.kill()
        elif now > last:
            run.reason = "the time was over"
            run.child.stop()
        elif run.pace is not None and run.ends > last:
            run.reason = f"an epoch takes {run.pace:.2f} s, too long for what was left"
            run.child.stop()

    def _ended(self, run: Active) -> bool:
        if (code := run.child.code) is None:
            return False
        folder = self._folder(run.job)
        run.row |= {"seconds": monotonic() - run.began, "epochs": epochs_done(folder)}
        if code == 0:
            run.row |= finished(folder)
        elif run.reason is not None and any(folder.glob("checkpoints/*.pt")):
            run.row |= {"state": "begun", "reason": run.reason}
        else:
            run.row |= {"state": "failed", "reason": ending(code), "tail": run.child.tail}
        self._write()
        return True

    def _folder(self, job: Job) -> Path:
        return folder_of(self.out, job)

    def _write(self) -> None:
        write_json_atomically(self.out / "runs.json", self.rows)


def origin(job: Job) -> Row:
    """Which run it is."""
    return {"name": job["name"], "seed": job["seed"], "table": job["table"]}


def finished(folder: Path) -> Row:
    """What its record says."""
    record = json.loads((folder / "record.json").read_text())
    return {"state": "finished", "metrics": record["metrics"], "epochs": epochs_done(folder)}


def folder_of(out: Path, job: Job) -> Path:
    """Where a run lies."""
    return out / "runs" / job["name"] / f"seed{job['seed']}"


def left_to_do(out: Path, jobs: Sequence[Job]) -> list[Job]:
    """Those that could be begun or go on."""
    return [
        job
        for job in jobs
        if not job["missing"] and not (folder_of(out, job) / "record.json").exists()
    ]


def epochs_done(folder: Path) -> int:
    """Of a run, whether it is finished or not."""
    history = folder / "history.jsonl"
    return history.read_bytes().count(b"\n") if history.exists() else 0
