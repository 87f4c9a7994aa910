"""Jobs on a real Slurm, started and stopped here, are preempted, requeued and resumed.

They end with the same metrics and curves as runs that were not disturbed. Needs root and Debian's
slurm-wlm and munge; one node, no systemd.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from faults.cluster import CPUS, Cluster, cluster, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.xdist_group("slurm"),
]
ROOT = Path(__file__).parents[2]
TIMEOUT = 240  # seconds for one case
RUNTIME = "runtime.device=cpu runtime.threads=1 runtime.progress=false"
# Only a signal makes a checkpoint in time.
LATE = f"{RUNTIME} runtime.checkpoint_seconds=1e9"
DIGITS = "dataset=digits dataset.size=8 model=wrn10_2 schedule=cosine schedule.batch_size=32"
SUBMITIT = "hydra/launcher=submitit_slurm"


@dataclass(frozen=True)
class Case:
    """Arguments of train.py, how a job of theirs is preempted, and how they are launched."""

    line: str
    preempt: Callable[[Cluster, str], None]
    launcher: str = SUBMITIT  # settings, or the script to submit
    ranks: int = 1


def signalled(slurm: Cluster, job: str) -> None:
    """What Slurm sends before a time limit, or when an administrator drains a node."""
    slurm.ask("scancel", "--signal=USR2", job)


def outranked(slurm: Cluster, job: str) -> None:
    """A job of a higher priority wants the whole node: SIGTERM, and later SIGKILL."""
    everything = ["--partition=high", f"--ntasks={CPUS}", "--output=/dev/null", "--wrap=sleep 1"]
    slurm.ask("sbatch", *everything)


CASES = {
    "sweep": Case(f"-m {DIGITS} {LATE} method=erm,mixup seed=0,1 schedule.epochs=10", signalled),
    "priority": Case(f"-m {DIGITS} {LATE} method=erm seed=2,3 schedule.epochs=10", outranked),
    "table": Case(
        f"-m table=mixup/table4 +only=Iris {LATE} seed=0,1 schedule.epochs=200", signalled
    ),
    "tasks": Case(
        f"-m {DIGITS} {LATE} method=mixup seed=0 schedule.epochs=10",
        signalled,
        f"{SUBMITIT} runtime=slurm hydra.launcher.tasks_per_node=2",
        ranks=2,
    ),
    "sbatch": Case(
        f"{DIGITS} {LATE} method=mixup seed=1 schedule.epochs=10",
        signalled,
        "scripts/train.sbatch",
        ranks=2,
    ),
}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("slurm")
    for path in (folder, *list(folder.parents)[:2]):
        path.chmod(0o755)  # munged is another user
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.exit("SIGTERM", 143))  # stops Slurm
    with cluster(folder) as started:
        yield started
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("name", CASES)
def test_preempted_on_slurm(
    name: str, slurm: Cluster, record_property: Callable[..., None]
) -> None:
    case, out, whole = CASES[name], slurm.folder / name, slurm.folder / f"{name}-whole"
    undisturbed = start(slurm, alone(case, whole), whole)
    run_and_preempt(case, slurm, out)
    assert undisturbed.wait(TIMEOUT) == 0, last_lines(whole)
    assert outcomes(out) == outcomes(whole)
    assert resumed(out), "no run was resumed from a checkpoint"
    record_property("runs", len(outcomes(out)))
    record_property("resumed", resumed(out))
    record_property("slurm", slurm.ask("sinfo", "--version").strip())


def run_and_preempt(case: Case, slurm: Cluster, out: Path) -> None:
    """Run the line on Slurm; preempt a job, once, as soon as its run trains."""
    words = [*case.line.split(), f"out={out}", f"results={out}/results"]
    if case.launcher.endswith(".sbatch"):
        size = [f"--ntasks={case.ranks}", f"--output={out}.log"]
        command = ["sbatch", "--wait", *size, case.launcher, *words]
    else:
        command = [sys.executable, "train.py", *words, *case.launcher.split()]
    child, preempted = start(slurm, command, out), False
    deadline = time.monotonic() + TIMEOUT
    while child.poll() is None or slurm.jobs():
        if not preempted and (job := next(training_jobs(out), None)):
            case.preempt(slurm, job)
            preempted = True
        assert time.monotonic() < deadline, last_lines(out)
        time.sleep(0.1)
    assert child.returncode == 0, last_lines(out)
    assert preempted, "it finished before it could be preempted"


def alone(case: Case, out: Path) -> list[str]:
    """The same line without Slurm: in one process, or on torchrun's ranks."""
    words = ["train.py", *case.line.split(), f"out={out}", f"results={out}/results"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={case.ranks}"]
    return [sys.executable, *(torchrun if case.ranks > 1 else []), *words]


def start(slurm: Cluster, command: list[str], out: Path) -> subprocess.Popen[bytes]:
    """Start a command in the repository; its output goes to OUT.out."""
    with Path(f"{out}.out").open("wb") as file:
        return subprocess.Popen(
            command, cwd=ROOT, env=slurm.environment, stdout=file, stderr=subprocess.STDOUT
        )


def last_lines(out: Path) -> str:
    return " / ".join(Path(f"{out}.out").read_text().splitlines()[-3:])


def training_jobs(out: Path) -> Iterator[str]:
    """Jobs whose runs have finished an epoch but not the last, found by who holds a run's lock."""
    for history in out.rglob("history.jsonl"):
        if history.read_text() and not (history.parent / "record.json").exists():
            process = (history.parent / "lock").read_text().split()[1]
            with suppress(FileNotFoundError):
                words = Path(f"/proc/{process}/environ").read_text().split("\0")
                values = {name: value for name, _, value in (w.partition("=") for w in words)}
                # For an array this is one element, where SLURM_JOB_ID may mean all of them.
                array = (values.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
                yield "_".join(filter(None, array)) or values["SLURM_JOB_ID"]


def outcomes(out: Path) -> dict[str, Any]:
    """By run, what must not depend on preemption."""
    found = {}
    for path in sorted(out.rglob("record.json")):
        record = json.loads(path.read_text())
        curves = {key: curve for key, curve in record["curves"].items() if key != "seconds"}
        found[f"{record['name']}/{record['seed']}"] = [record["metrics"], curves]
    return found


def resumed(out: Path) -> int:
    """How many runs went on from a checkpoint."""
    sessions = [json.loads(path.read_text())["sessions"] for path in out.rglob("record.json")]
    return sum(each[-1]["from_step"] > 0 for each in sessions)
