"""Launches the jobs of a sweep as places become free, until all have ended."""

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import monotonic
from types import FrameType

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from vicinal.cli.failures import reason
from vicinal.cli.sweeps import search_of
from vicinal.errors import BusyError, PreemptedError, SearchError
from vicinal.launching.endings import failure, returned
from vicinal.launching.jobs import Job
from vicinal.launching.lines import arguments, log_file
from vicinal.launching.places import Place, Places
from vicinal.launching.process import Message, Nursery
from vicinal.launching.screen import Screen
from vicinal.loggers.news import News
from vicinal.machine.signals import STOPPING

POLL = 0.25  # seconds between two looks at what runs tell
PATIENCE = 15.0  # seconds for another process to leave a run, which it may be stopping just now
AGAIN = 2.0  # seconds until such a run is tried again
NOTED = "vicinal: stopping as soon as checkpoints are written; Ctrl-C again stops at once"
STOPPED = "the runs that it stopped have checkpoints, and the same line again resumes"


@dataclass
class Attempt:
    """A job's log, what its run has told, and when it may start."""

    log: Path
    start: int = 0  # the log's length before
    told: Message = field(default_factory=dict)
    error: Exception | None = None
    busy_since: float | None = None  # when another process was first found on the run
    not_before: float = 0.0


@dataclass
class Launching:
    """The jobs of a sweep; what forks their processes is started at once, while it is planned."""

    config: DictConfig  # of the sweep
    places: Places
    begin: Callable[[], Nursery]  # called once
    threads: int | None = None  # of each run; None: as its environment says
    patience: float = PATIENCE
    _jobs: list[Job] = field(default_factory=list)
    _attempts: list[Attempt] = field(default_factory=list)
    _signals: list[int] = field(default_factory=list)  # that came, until they are passed on
    _refusal: SearchError | None = None  # what no job can do
    _stopped: list[int] = field(default_factory=list)  # those that were

    def __post_init__(self) -> None:
        lines = self.config.hydra.overrides.task
        if not any(line.lstrip("+").startswith("dry_run=") for line in lines):
            _ = self.nursery

    @cached_property
    def nursery(self) -> Nursery:
        """The process that runs are forked from."""
        return self.begin()

    def launch(self, job_overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
        """Run the jobs, in this order; returns once all have ended."""
        self._jobs = [Job(number, tuple(each)) for number, each in enumerate(job_overrides)]
        self._attempts = [Attempt(log_file(self.config, each)) for each in job_overrides]
        with self._noted(), Screen() as screen:
            while self._goes_on():
                self._pass_signals_on()
                self._start()
                for message in self.nursery.receive(POLL):
                    self._hear(message)
                screen.show(self._jobs, monotonic())
        self._leave()
        return [
            returned(job.overrides, attempt.told, attempt.error)
            for job, attempt in zip(self._jobs, self._attempts, strict=True)
        ]

    def _goes_on(self) -> bool:
        """Whether anything runs, or is left to start."""
        if self._ends:
            return any(job.running for job in self._jobs)
        return any(job.ending is None for job in self._jobs)

    @property
    def _ends(self) -> bool:
        """Whether nothing more is started."""
        return bool(self._stopped or self._signals or self._refusal)

    def _start(self) -> None:
        """Start the jobs that there is a place for."""
        now = monotonic()
        for job, attempt in zip(self._jobs, self._attempts, strict=True):
            waits = job.began is None and job.ending is None and attempt.not_before <= now
            if not waits or self._ends:
                continue
            place = self.places.device(self._jobs, now)
            if place is None:
                return
            self._send(job, attempt, place)
            job.device, job.began = place.device, now

    def _send(self, job: Job, attempt: Attempt, place: Place) -> None:
        line = arguments(self.config, job.overrides)
        attempt.log.parent.mkdir(parents=True, exist_ok=True)
        with attempt.log.open("a") as log:
            print(f"$ {shlex.join(line)}", file=log)
        attempt.start, attempt.told = attempt.log.stat().st_size, {}
        search = search_of(self.config.hydra)
        order = {
            "number": job.number,
            "arguments": line,
            "environment": dict(place.environment),
            "threads": self.threads,
            "folder": os.getcwd(),  # noqa: PTH109
            "log": str(attempt.log),
            "search": search and [search.sweeper, search.directions],
        }
        self.nursery.send(order)

    def _hear(self, message: Message) -> None:
        """Take in what a run or the nursery tells."""
        job, attempt = self._jobs[message["number"]], self._attempts[message["number"]]
        if "news" in message:
            job.news = News(**message["news"])
        elif "code" in message:
            self._end(job, attempt, message["code"])
        else:
            attempt.told = message

    def _end(self, job: Job, attempt: Attempt, code: int) -> None:
        """Note how a run has ended; one that another process has may be tried again later."""
        now, error = monotonic(), failure(attempt.told, code, attempt.log, attempt.start)
        job.news = None
        if isinstance(error, BusyError):
            attempt.busy_since = attempt.busy_since or now
            if now - attempt.busy_since < self.patience:
                attempt.not_before, job.began, job.device = now + AGAIN, None, None
                return
        job.ending = "" if error is None else f"{_first(reason(error))} (log: {attempt.log})"
        if self.places.ended(job, self._jobs):
            job.ending, job.began, job.device = None, None, None
            return
        attempt.error = error
        if isinstance(error, SearchError):  # as will all others
            self._refusal = error

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Note signals that ask this process to stop; they are passed on to the runs."""

        def note(number: int, frame: FrameType | None) -> None:
            self._signals.append(number)

        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as `nohup` has it
        numbers = [*STOPPING, *([] if ignored else [signal.SIGINT])]
        before = {number: signal.signal(number, note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_signals_on(self) -> None:
        """Have the runs write checkpoints; a second Ctrl-C stops them at once, a third kills."""
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGINT and not self._stopped:
                print(NOTED, file=sys.stderr)
            interrupts = self._stopped.count(signal.SIGINT)
            killed = number == signal.SIGINT and interrupts > 1
            self.nursery.send({"signal": int(signal.SIGKILL if killed else number)})
            self._stopped.append(number)

    def _leave(self) -> None:
        """End the sweep if it was asked to stop."""
        if signal.SIGINT in (came := [*self._stopped, *self._signals]):
            raise KeyboardInterrupt
        if came:
            name = signal.Signals(came[0]).name
            print(f"vicinal: stopped by {name}; {STOPPED}", file=sys.stderr)
            sys.exit(PreemptedError.EXIT_CODE)
        if self._refusal is not None:
            raise self._refusal


def _first(text: str) -> str:
    return (text.splitlines() or [""])[0]
