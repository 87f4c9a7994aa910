"""One of two ranks is killed: the job ends soon and says why, or torchrun restarts it."""

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

import pytest
from faults.runs import RUNTIME, assert_same_outcome, checkpoints, log, record, start, wait

TRAIN = Path(__file__).with_name("keeping.py")
LINES = (
    "dataset=digits dataset.size=8 dataset.train_per_class=6 dataset.holdout_per_class=2 "
    "model=mlp model.width=16 method=mixup optimizer.ema_decay=0.9 "
    f"schedule.epochs=12 schedule.batch_size=20 {RUNTIME}"
).split()
STEPS = 36
STARTUP = 4  # seconds that ranks take to start, roughly
SOON = 20  # seconds in which a job must end; torchrun itself kills a process that hangs for 30
TIMEOUT = 300  # seconds for a job that should finish
Job = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two undisturbed ranks, without torchrun, which would start them more slowly."""
    out = tmp_path_factory.mktemp("ranks") / "whole"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    children = [
        start(LINES, out, partial(os.environ.update, world | {"RANK": k, "LOCAL_RANK": k}), name=k)
        for k in "01"
    ]
    codes = list(map(wait, children))
    assert codes == [0, 0], log(out, "0") + log(out, "1")
    return out


@pytest.mark.slow
@pytest.mark.trials(10)
def test_a_lost_rank(
    trial: int, whole: Path, draw: Random, tmp_path: Path, record_property: Callable[..., None]
) -> None:
    """Lost in the first half, it ends the job; lost in the second, torchrun restarts the job."""
    out, job = tmp_path / "out", None
    for attempt in range(10):  # a kill may come late, when the job is over
        out = tmp_path / f"out{attempt}"
        job = torchrun(out)
        step, victim = kill_one(job, out, draw, range(1, STEPS // 2))
        assert ended(job, SOON), log(out)
        if job.returncode != 0:
            break
    assert job is not None
    assert job.returncode != 0
    # Before the first step the survivor may have had no chance to say anything.
    assert step == 0 or f"vicinal (rank {1 - victim}): another rank was lost" in log(out), log(out)
    job = torchrun(out, "--max-restarts=1")
    kill_one(job, out, draw, range(STEPS // 2, STEPS))
    assert ended(job, TIMEOUT), log(out)
    assert job.returncode == 0, log(out)
    assert record(out)["sessions"][-1]["from_step"] >= step
    assert_same_outcome(out, whole)
    record_property("restarts", int("exitcode: -9" in log(out)))


def torchrun(out: Path, *options: str) -> Job:
    """Start two ranks of one run; their output goes to OUT.log."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", *options]
    command += [str(TRAIN), *LINES, f"out={out}", f"results={out}/results"]
    with Path(f"{out}.log").open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


def kill_one(job: Job, out: Path, draw: Random, steps: range) -> tuple[int, int]:
    """Kill a rank while it starts, one time in four, or shortly after a step; return both."""
    step = 0 if draw.random() < 0.25 else draw.choice(steps)
    delay, victim = draw.uniform(0, 0.05 if step else STARTUP), draw.randrange(2)
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children")
    while job.poll() is None and len(children.read_text().split()) < 2:
        time.sleep(0.002)
    while job.poll() is None and steps_done(out) < step:
        time.sleep(0.002)
    time.sleep(delay)
    if job.poll() is None:
        os.kill(int(children.read_text().split()[victim]), signal.SIGKILL)
    return step, victim


def steps_done(out: Path) -> int:
    """Up to the newest checkpoint."""
    return max((int(path.name.split("-")[1][4:]) for path in checkpoints(out).paths()), default=0)


def ended(job: Job, seconds: float) -> bool:
    """Whether the job ends in time; if not, it is terminated."""
    try:
        job.wait(seconds)
    except subprocess.TimeoutExpired:
        job.terminate()
        job.wait()
        return False
    return True
