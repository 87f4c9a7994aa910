"""The parts of the session, assembled from the other modules; nothing here imports torch."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import monotonic, time

from gpu_session import carry, concurrency, summary
from gpu_session.choose import Concurrency, Measured
from gpu_session.figures import figure5
from gpu_session.forms import forms
from gpu_session.parts import Part, PartError, complete
from gpu_session.pool import Pool, Row, read
from gpu_session.processes import REPORTS, ROOT, Child, environment
from gpu_session.runs import Runs, left_to_do
from gpu_session.sweep import sweep
from vicinal.errors import RunError
from vicinal.machine.cores import allowed_cores
from vicinal.machine.mps import installed, mps

TIMEOUTS = {"steps": 120.0, "pace": 150.0}  # seconds per item, with its worker's start
REHEARSAL_TIMEOUT = 600.0
WEIGHTS = (10, 22, 13, 20, 14, 8, 40)  # the first parts' shares of the time
REHEARSAL_WEIGHTS = (30, 90, 30, 30, 14, 20, 40)
RESERVE = 15.0  # seconds for the end


@dataclass(frozen=True)
class Session:
    """The folders, and the parts to go through."""

    out: Path
    data: Path
    rehearse: bool = False
    only: Sequence[str] | None = None  # methods, networks, models
    workers: int | None = None
    since: float = field(default_factory=time)

    def parts(self) -> list[Part]:
        """All parts, in order."""
        weight = REHEARSAL_WEIGHTS if self.rehearse else WEIGHTS
        return [
            Part("machine", self.machine, weight[0]),
            Part("steps", self.steps, weight[1]),
            Part("tests", self.tests, weight[2]),
            Part("pace", self.pace, weight[3]),
            Part("concurrency", self.concurrency, weight[4]),
            Part("sweep", self.sweep, weight[5]),
            Part("runs", self.runs, weight[6], reserve=RESERVE),
            Part("figure5", self.figure5, weight=0, reserve=RESERVE),
            Part("carry", self.carry, weight=0, reserve=0),
        ]

    def write_summary(self) -> None:
        """Write the summary of what is known so far."""
        summary.write(self.out)

    def machine(self, deadline: float) -> None:
        """Describe the machine and make the plan."""
        with self._plan() as planning:
            complete(self._child("machine", str(self.out / "machine.json")), deadline)
            complete(planning, deadline)
        self._require_cuda()

    def steps(self, deadline: float) -> None:
        """Many items at once: most of the time goes to a compiler, on one core each."""
        items = [item for item in self._items("steps", deadline) if self._wanted(item)]
        alone = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._pool("steps", alone).work(items, self._cores, deadline)

    def tests(self, deadline: float) -> None:
        """Run the tests that need a GPU."""
        self._require_cuda()
        target = self.out / "tests.jsonl"
        target.unlink(missing_ok=True)
        files = [p for p in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in p.read_text()]
        words = ["-q", "-m", "gpu", "-p", "gpu_session.reports", *map(str, sorted(files))]
        missing = (read(self.out / "machine.json") or {}).get("missing", ())
        if self._cores > 1 and "xdist" not in missing and not self.rehearse:
            words += ["-n", str(self._cores)]
        variables = self._environment | {REPORTS: str(target), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", *words]
        failed = 1  # some tests failed: the outcomes say which
        complete(Child(command, self.out / "logs" / "tests.log", variables), deadline, (0, failed))

    def pace(self, deadline: float) -> None:
        """One item after the other; whole epochs in the fastest form found by then."""
        pool, every = self._pool("pace"), self._items("pace", deadline)
        network = every[1].partition(".")[0]
        chosen = [item for item in every if item == "peaks" or self._wanted(item)]
        pool.work([i for i in chosen if i.partition(".")[0] in ("peaks", network)], 1, deadline)
        form = Measured.under(self.out).fastest(network)
        pool.work([f"{network}.epochs-{form}", *chosen], 1, deadline)

    def concurrency(self, deadline: float) -> None:
        """Several processes at once, then again under MPS."""
        self._require_cuda()
        folder = self.out / "concurrency"
        form = Measured.under(self.out).fastest(self._items("pace", deadline)[1].partition(".")[0])
        again = installed() and not self.rehearse
        first = (monotonic() + deadline) / 2 if again else deadline
        concurrency.attempt(folder / "plain.json", form, self._environment, first, self.rehearse)
        if again:
            with mps(self._environment) as shared:
                concurrency.attempt(folder / "mps.json", form, shared, deadline, self.rehearse)

    def sweep(self, deadline: float) -> None:
        """Train a sweep by the launcher that fills GPUs."""
        self._require_cuda()
        sweep(self.out, self._environment, deadline, self.rehearse)

    def runs(self, deadline: float) -> None:
        """As many runs at once as is worthwhile."""
        self._require_cuda()
        jobs = self._planned("plan.json", deadline, self.since)["runs"]  # data may have been added
        known = forms(self.rehearse)
        if self.rehearse:
            known = dict.fromkeys(known, known["fp32"])  # train.py would really compile
        words = {form: words.split() for form, words in known.items()}
        together, given = Concurrency(), self._environment
        for job in left_to_do(self.out, jobs)[:1]:
            together = Measured.under(self.out).together(job, deadline - monotonic())
        with ExitStack() as ended:
            if together.mps:
                try:
                    given = ended.enter_context(mps(given))
                except RunError:
                    together = Concurrency()  # it worked before, and runs do not need it
            Runs(self.out, jobs, words, given, together).work(deadline)

    def figure5(self, deadline: float) -> None:
        """Make mixup's Figure 5."""
        self._require_cuda()
        figure5(self.out, self._environment, deadline, self.rehearse)

    def carry(self, deadline: float) -> None:
        """Make smaller copies of the weights, if needed."""
        if carry.too_large(self.out):
            complete(self._child("halve", str(self.out)), deadline)

    def _require_cuda(self) -> None:
        """Raise an error if there is known to be no GPU."""
        found = read(self.out / "machine.json")
        if found is not None and not self.rehearse and not found["devices"]:
            raise PartError("torch sees no CUDA device; --rehearse needs none")

    def _plan(self) -> Child:
        return self._child("plan", str(self.out), str(self.data), *self._flags)

    def _planned(self, name: str, deadline: float, since: float = 0.0) -> Row:
        """Read a file of the plan; plan first if it is missing or older than `since`."""
        path = self.out / name
        if not path.exists() or path.stat().st_mtime < since:
            complete(self._plan(), deadline)
        return read(path) or {}

    def _items(self, kind: str, deadline: float) -> list[str]:
        return self._planned("items.json", deadline)[kind]

    def _wanted(self, item: str) -> bool:
        return self.only is None or item.rpartition(".")[0].rpartition("=")[2] in self.only

    def _pool(self, kind: str, more: Mapping[str, str] | None = None) -> Pool:
        folder = self.out / kind
        command = [sys.executable, "-m", "gpu_session.worker", kind, str(folder), *self._flags]
        timeout = REHEARSAL_TIMEOUT if self.rehearse else TIMEOUTS[kind]
        variables = self._environment | dict(more or {})
        return Pool(command, folder, variables, self.out / "logs", timeout)

    def _child(self, module: str, *words: str) -> Child:
        command = [sys.executable, "-m", f"gpu_session.{module}", *words]
        return Child(command, self.out / "logs" / f"{module}.log", self._environment)

    @property
    def _flags(self) -> list[str]:
        return ["--rehearse"] if self.rehearse else []

    @property
    def _cores(self) -> int:
        return self.workers or allowed_cores()

    @cached_property
    def _environment(self) -> dict[str, str]:
        return environment(self.out)
