"""Train on a real Slurm that this script starts and stops, preempt jobs, compare what comes out.

python scripts/slurm.py                  every case
python scripts/slurm.py sweep tasks      two of them
Needs root and Debian's slurm-wlm and munge; one node, no systemd. A case is survived where all its
runs finish, the preempted ones resumed from their checkpoint, with the very curves of runs that
nothing befell. Exits non-zero where one was not.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.cluster import CPUS, Cluster, cluster, missing

from vicinal.storage.files import write_json_atomically
from vicinal.storage.provenance import provenance

ROOT = Path(__file__).parents[1]
PATIENCE = 240  # seconds, with one case
RUNTIME = "runtime.device=cpu runtime.threads=1 runtime.progress=false"
# Nothing but a signal makes a checkpoint in time.
LATE = f"{RUNTIME} runtime.checkpoint_seconds=1e9"
DIGITS = "dataset=digits dataset.size=8 model=wrn10_2 schedule=cosine schedule.batch_size=32"
SUBMITIT = "hydra/launcher=submitit_slurm"


@dataclass(frozen=True)
class Case:
    """One line of train.py, what befalls it on Slurm, and how to run it where nothing does."""

    line: str
    befalls: Callable[[Cluster, str], str]
    launched: str = SUBMITIT  # a launcher's settings, or the script to submit
    ranks: int = 1


def signalled(slurm: Cluster, job: str) -> str:
    """What Slurm sends before a time limit, or when an administrator drains a node."""
    slurm.ask("scancel", "--signal=USR2", job)
    return "SIGUSR2"


def outranked(slurm: Cluster, job: str) -> str:
    """A job of a higher priority wants the whole node: SIGTERM, and later SIGKILL."""
    everything = ["--partition=high", f"--ntasks={CPUS}", "--output=/dev/null", "--wrap=sleep 1"]
    slurm.ask("sbatch", *everything)
    return "higher priority"


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


def main() -> None:
    """Start Slurm, try each case, stop Slurm; print the table."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--out", type=Path, help="write the table as JSON, too")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.cases if name not in CASES]
    if unknown:
        parser.error(f"unknown case {', '.join(unknown)}; known: {', '.join(CASES)}")
    if why := missing():
        sys.exit(f"slurm: {why}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, to clear up
    rows = []
    temporary = tempfile.TemporaryDirectory(prefix="vicinal-slurm-")
    with temporary as folder, cluster(Path(folder)) as slurm:
        print(f"{'case':10}{'runs':>5}{'resumed':>9}{'seconds':>9}  preempted by", flush=True)
        for name in arguments.cases or CASES:
            rows.append(row := attempt(name, slurm))
            counts = f"{row['runs']:5}{row['resumed']:9}{row['seconds']:9.0f}"
            print(f"{name:10}{counts}  {row['by']}", flush=True)
            if row["failure"]:
                print(f"    {row['failure']}", flush=True)
        version = slurm.ask("sinfo", "--version").strip()
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        made = {"slurm": version, **provenance("cpu")}
        write_json_atomically(arguments.out, {"cases": rows, "made": made})
    survived = sum(not row["failure"] for row in rows)
    print(f"{len(rows)} tried, {survived} survived")
    sys.exit(survived < len(rows))


def attempt(name: str, slurm: Cluster) -> dict[str, Any]:
    """One case beside its undisturbed runs."""
    case, began = CASES[name], time.monotonic()
    out, whole = (slurm.folder / f"{name}{suffix}" for suffix in ("", "-whole"))
    undisturbed = start(slurm, alone(case, whole), whole)
    by = failure = ""
    try:
        by = disturbed(case, slurm, out)
        if undisturbed.wait(PATIENCE):
            raise AssertionError(f"the undisturbed runs failed: {said(whole)}")
        if (found := outcomes(out)) != (expected := outcomes(whole)):
            wrong = [key for key in expected if found.get(key) != expected[key]]
            raise AssertionError(f"of {len(expected)} runs these differ or are missing: {wrong}")
        if not resumed(out):
            raise AssertionError("no run was resumed from a checkpoint")
    except (AssertionError, subprocess.TimeoutExpired) as error:
        failure = str(error)
    row = {"case": name, "runs": len(outcomes(out)), "resumed": resumed(out), "by": by}
    return row | {"seconds": round(time.monotonic() - began, 1), "failure": failure}


def disturbed(case: Case, slurm: Cluster, out: Path) -> str:
    """The line on Slurm, preempted once as soon as a run trains; by what."""
    words = [*case.line.split(), f"out={out}", f"results={out}/results"]
    if case.launched.endswith(".sbatch"):
        size = [f"--ntasks={case.ranks}", f"--output={out}.log"]
        command = ["sbatch", "--wait", *size, case.launched, *words]
    else:
        command = [sys.executable, "train.py", *words, *case.launched.split()]
    child, by, deadline = start(slurm, command, out), "", time.monotonic() + PATIENCE
    while child.poll() is None or slurm.jobs():
        if not by and (job := next(training(out), None)):
            by = case.befalls(slurm, job)
        if time.monotonic() > deadline:
            raise AssertionError(f"not finished in {PATIENCE} seconds: {said(out)}")
        time.sleep(0.1)
    if child.returncode:
        raise AssertionError(f"exit code {child.returncode}: {said(out)}")
    if not by:
        raise AssertionError("it finished before it could be preempted")
    return by


def alone(case: Case, out: Path) -> list[str]:
    """The same line without Slurm: in one process, or on torchrun's ranks."""
    words = ["train.py", *case.line.split(), f"out={out}", f"results={out}/results"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={case.ranks}"]
    return [sys.executable, *(torchrun if case.ranks > 1 else []), *words]


def start(slurm: Cluster, command: list[str], out: Path) -> subprocess.Popen[bytes]:
    """A command in the repository, what it says in OUT.said."""
    with Path(f"{out}.said").open("wb") as file:
        return subprocess.Popen(
            command, cwd=ROOT, env=slurm.environment, stdout=file, stderr=subprocess.STDOUT
        )


def said(out: Path) -> str:
    """The last that was said."""
    return " / ".join(Path(f"{out}.said").read_text().splitlines()[-3:])


def training(out: Path) -> Iterator[str]:
    """The jobs whose runs have finished an epoch but not the last, by who has the run's lock."""
    for history in out.rglob("history.jsonl"):
        if history.read_text() and not (history.parent / "record.json").exists():
            process = (history.parent / "lock").read_text().split()[1]
            with suppress(FileNotFoundError):
                told = Path(f"/proc/{process}/environ").read_text().split("\0")
                known = {name: value for name, _, value in (w.partition("=") for w in told)}
                # Of an array this is one element, where SLURM_JOB_ID may mean them all.
                array = (known.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
                yield "_".join(filter(None, array)) or known["SLURM_JOB_ID"]


def outcomes(out: Path) -> dict[str, Any]:
    """By run, what must not depend on what befell it."""
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


if __name__ == "__main__":
    main()
