"""The parts, made of what is in the other modules; nothing here imports torch."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import monotonic, time

from quarter import carry, crowd, summary
from quarter.choose import Crowd, Measured
from quarter.figures import figure5
from quarter.forms import forms
from quarter.parts import Part, PartError, whole
from quarter.pool import Pool, Row, read
from quarter.processes import REPORTS, ROOT, Child, environment
from quarter.runs import Runs, left_to_do

PATIENCE = {"steps": 120.0, "pace": 150.0}  # seconds for an item, its worker's start included
REHEARSALS = 120.0
WEIGHTS = (10, 22, 13, 20, 14, 40)  # of the first parts, in time
REHEARSED = (30, 90, 30, 30, 14, 40)
RESERVE = 15.0  # seconds for the end


@dataclass(frozen=True)
class Day:
    """Where all lies, and what there is to do."""

    out: Path
    data: Path
    rehearse: bool = False
    only: Sequence[str] | None = None  # methods, networks, models
    workers: int | None = None
    since: float = field(default_factory=time)

    def parts(self) -> list[Part]:
        """In order."""
        weight = REHEARSED if self.rehearse else WEIGHTS
        return [
            Part("machine", self.machine, weight[0]),
            Part("steps", self.steps, weight[1]),
            Part("tests", self.tests, weight[2]),
            Part("pace", self.pace, weight[3]),
            Part("crowd", self.crowd, weight[4]),
            Part("runs", self.runs, weight[5], reserve=RESERVE),
            Part("figure5", self.figure5, weight=0, reserve=RESERVE),
            Part("carry", self.carry, weight=0, reserve=0),
        ]

    def tell(self) -> None:
        """The summary as it is so far."""
        summary.write(self.out)

    def machine(self, deadline: float) -> None:
        """What is here, and what there is to do."""
        with self._plan() as planning:
            whole(self._child("machine", str(self.out / "machine.json")), deadline)
            whole(planning, deadline)
        self._cuda()

    def steps(self, deadline: float) -> None:
        """Many at once: most of the time is a compiler's, on one core each."""
        items = [item for item in self._items("steps", deadline) if self._wanted(item)]
        alone = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._pool("steps", alone).work(items, self._cores, deadline)

    def tests(self, deadline: float) -> None:
        """Those that need a GPU, and no others."""
        self._cuda()
        target = self.out / "tests.jsonl"
        target.unlink(missing_ok=True)
        files = [p for p in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in p.read_text()]
        words = ["-q", "-m", "gpu", "-p", "quarter.reports", *map(str, sorted(files))]
        missing = (read(self.out / "machine.json") or {}).get("missing", ())
        if self._cores > 1 and "xdist" not in missing and not self.rehearse:
            words += ["-n", str(self._cores)]
        told = self._environment | {REPORTS: str(target), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", *words]
        failed = 1  # which the outcomes tell
        whole(Child(command, self.out / "logs" / "tests.log", told), deadline, (0, failed))

    def pace(self, deadline: float) -> None:
        """One after the other; true epochs in the form that is the fastest by then."""
        pool, every = self._pool("pace"), self._items("pace", deadline)
        network = every[1].partition(".")[0]
        chosen = [item for item in every if item == "peaks" or self._wanted(item)]
        pool.work([i for i in chosen if i.partition(".")[0] in ("peaks", network)], 1, deadline)
        form = Measured.under(self.out).fastest(network)
        pool.work([f"{network}.epochs-{form}", *chosen], 1, deadline)

    def crowd(self, deadline: float) -> None:
        """Several at once, then again under MPS."""
        self._cuda()
        folder = self.out / "crowd"
        form = Measured.under(self.out).fastest(self._items("pace", deadline)[1].partition(".")[0])
        again = crowd.installed() and not self.rehearse
        first = (monotonic() + deadline) / 2 if again else deadline
        crowd.attempt(folder / "plain.json", form, self._environment, first, self.rehearse)
        if again:
            with crowd.mps(self._environment) as shared:
                crowd.attempt(folder / "mps.json", form, shared, deadline, self.rehearse)

    def runs(self, deadline: float) -> None:
        """As many at once as pay."""
        self._cuda()
        jobs = self._planned("plan.json", deadline, self.since)["runs"]  # data may have come
        known = forms(self.rehearse)
        if self.rehearse:
            known = dict.fromkeys(known, known["fp32"])  # nobody keeps train.py from compiling
        words = {form: words.split() for form, words in known.items()}
        together, given = Crowd(), self._environment
        for job in left_to_do(self.out, jobs)[:1]:
            together = Measured.under(self.out).together(job, deadline - monotonic())
        with ExitStack() as ended:
            if together.mps:
                try:
                    given = ended.enter_context(crowd.mps(given))
                except PartError:
                    together = Crowd()  # it worked before, and runs can do without
            Runs(self.out, jobs, words, given, together).work(deadline)

    def figure5(self, deadline: float) -> None:
        """The last of the runs."""
        self._cuda()
        figure5(self.out, self._environment, deadline, self.rehearse)

    def carry(self, deadline: float) -> None:
        """Smaller copies of weights, where they are needed."""
        if carry.too_large(self.out):
            whole(self._child("halve", str(self.out)), deadline)

    def _cuda(self) -> None:
        """Refuse where it is known that there is no GPU."""
        found = read(self.out / "machine.json")
        if found is not None and not self.rehearse and not found["devices"]:
            raise PartError("torch sees no CUDA device; --rehearse does without")

    def _plan(self) -> Child:
        return self._child("plan", str(self.out), str(self.data), *self._flags)

    def _planned(self, name: str, deadline: float, since: float = 0.0) -> Row:
        """Of the plan, made now where it is not there, or older."""
        path = self.out / name
        if not path.exists() or path.stat().st_mtime < since:
            whole(self._plan(), deadline)
        return read(path) or {}

    def _items(self, kind: str, deadline: float) -> list[str]:
        return self._planned("items.json", deadline)[kind]

    def _wanted(self, item: str) -> bool:
        return self.only is None or item.rpartition(".")[0].rpartition("=")[2] in self.only

    def _pool(self, kind: str, more: Mapping[str, str] | None = None) -> Pool:
        folder = self.out / kind
        command = [sys.executable, "-m", "quarter.worker", kind, str(folder), *self._flags]
        patience = REHEARSALS if self.rehearse else PATIENCE[kind]
        told = self._environment | dict(more or {})
        return Pool(command, folder, told, self.out / "logs", patience)

    def _child(self, module: str, *words: str) -> Child:
        command = [sys.executable, "-m", f"quarter.{module}", *words]
        return Child(command, self.out / "logs" / f"{module}.log", self._environment)

    @property
    def _flags(self) -> list[str]:
        return ["--rehearse"] if self.rehearse else []

    @property
    def _cores(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))

    @cached_property
    def _environment(self) -> dict[str, str]:
        return environment(self.out)
