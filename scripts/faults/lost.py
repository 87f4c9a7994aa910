"""One rank of two is killed: the job ends soon and says why, or torchrun starts it again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from faults.children import (
    RUNTIME,
    Trials,
    checkpoints,
    differing,
    outcome,
    record,
    said,
    start,
    wait,
)

TRAIN = Path(__file__).with_name("keeping.py")
_LINES = (
    "dataset=digits dataset.size=8 dataset.train_per_class=6 dataset.holdout_per_class=2 "
    "model=mlp model.width=16 method=mixup optimizer.ema_decay=0.9 "
    f"schedule.epochs=12 schedule.batch_size=20 {RUNTIME}"
)
LINES: list[str] = str(_LINES).split()
STEPS = 36
STARTING = 4  # seconds that ranks take for it, roughly
SOON = 20  # seconds in which a job must end; torchrun itself kills whoever hangs for 30
PATIENCE = 300  # seconds with a job that should finish


def rank(scratch: Path, draw: Random, trials: int) -> Trials:
    """SIGKILL either rank in the first half of a run, then, where it may restart, in the second."""
    whole, slowest, restarts, tried, attempt = alone(scratch / "whole"), 0.0, 0, 0, 0
    while tried < trials:
        attempt += 1
        out = scratch / f"lost{attempt}"
        job = launched(out)
        step, victim = kill_one(job, out, draw, range(1, STEPS // 2))
        killed = time.monotonic()
        wrong = unended(job, out, step, 1 - victim)
        slowest = max(slowest, time.monotonic() - killed)
        if job.returncode == 0:  # the signal came late
            continue
        tried += 1
        if not wrong:
            job = launched(out, "--max-restarts=1")
            kill_one(job, out, draw, range(STEPS // 2, STEPS))
            wrong = unfinished(job, out, step) or differing(whole, out)
            restarts += "exitcode: -9" in " ".join(said(out))
        yield wrong
    return f"ended within {slowest:.1f} seconds (at most {SOON}); {restarts} restarted"


def alone(out: Path) -> dict[str, Any]:
    """What the two ranks come to that nothing befalls; torchrun would start them more slowly."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    places = [meet | {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    children = [
        start(LINES, out, partial(os.environ.update, place), place["RANK"]) for place in places
    ]
    if any(list(map(wait, children))):
        raise AssertionError(f"the run itself failed: {said(out, '0')} {said(out, '1')}")
    return outcome(out)


def launched(out: Path, *options: str) -> subprocess.Popen[bytes]:
    """Two ranks of one run under torchrun; what they say goes to OUT.said."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", *options]
    command = [*torchrun, TRAIN, *LINES, f"out={out}", f"results={out}/results"]
    with Path(f"{out}.said").open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


def kill_one(
    job: subprocess.Popen[bytes], out: Path, draw: Random, steps: range
) -> tuple[int, int]:
    """One time in four while they start, else shortly after a step; which step, which rank."""
    step = 0 if draw.random() < 0.25 else draw.choice(steps)
    delay, victim = draw.uniform(0, 0.05 if step else STARTING), draw.randrange(2)
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children")
    until(lambda: len(children.read_text().split()) >= 2, job)
    until(lambda: steps_done(out) >= step, job)
    time.sleep(delay)
    if job.poll() is None:
        os.kill(int(children.read_text().split()[victim]), signal.SIGKILL)
    return step, victim


def until(there: Callable[[], bool], job: subprocess.Popen[bytes]) -> None:
    """Wait for something, or for the job's end."""
    while job.poll() is None and not there():
        time.sleep(0.002)


def steps_done(out: Path) -> int:
    """Of the newest checkpoint."""
    return max((int(path.name.split("-")[1][4:]) for path in checkpoints(out).paths()), default=0)


def unended(job: subprocess.Popen[bytes], out: Path, step: int, survivor: int) -> str:
    """What is wrong with how a job that lost a rank ended; it may be mute before a first step."""
    if not over(job, SOON):
        return f"{out.name}: not over after {SOON} seconds"
    told = f"vicinal (rank {survivor}): another rank was lost" in "\n".join(said(out))
    mute = job.returncode and step and not told
    return f"{out.name}: rank {survivor} did not say why: {words(out)}" if mute else ""


def unfinished(job: subprocess.Popen[bytes], out: Path, step: int) -> str:
    """What is wrong with the job that should have gone on from that step, and finished."""
    if not over(job, PATIENCE):
        return f"{out.name}: not over after {PATIENCE} seconds"
    if job.returncode:
        return f"{out.name}: exit code {job.returncode}: {words(out)}"
    steps = [session["from_step"] for session in record(out)["sessions"]]
    return "" if steps[-1] >= step else f"{out.name}: began again at {steps}"


def over(job: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether it ends in time; if not, it is ended."""
    try:
        job.wait(seconds)
    except subprocess.TimeoutExpired:
        job.terminate()
        job.wait()
        return False
    return True


def words(out: Path) -> str:
    """How it began to end; torchrun's own summary comes last."""
    return " / ".join(said(out)[:6])
