"""Processes that end when they should not: SIGKILL, preemption, several processes on one run."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from composing import EVERY, TEXT
from faults.runs import (
    RUNTIME,
    TINY,
    assert_same_outcome,
    assert_whole_checkpoints,
    checkpoints,
    finish,
    interrupt,
    last_line,
    log,
    record,
    start,
    wait,
)
from text_samples import SMALL, sentences

from vicinal.errors import PreemptedError, StoppedByUserError
from vicinal.loop import Loop
from vicinal.storage.checkpoints import Checkpoints

pytestmark = pytest.mark.xdist_group("faults")  # one undisturbed run for all
DIGITS = (
    "dataset=digits dataset.size=8 dataset.train_per_class=10 dataset.holdout_per_class=2 "
    "dataset.unlabelled=true model=wrn10_2 schedule.epochs=3 schedule.batch_size=24 "
    f"optimizer.ema_decay=0.9 {RUNTIME}"
).split()


@pytest.mark.trials(50)
def test_killed_while_writing_checkpoints(
    trial: int, whole: Path, draw: Random, tmp_path: Path, record_property: Callable[..., None]
) -> None:
    longest = 2 * seconds_to_write(whole, tmp_path / "timed")
    out, kills, leftovers = tmp_path / "out", 0, 0

    def killed() -> bool:
        call = (Checkpoints, "save", draw.randrange(6))
        return interrupt(TINY, out, call, draw.uniform(0, longest), signal.SIGKILL) is not None

    while killed():
        kills += 1
        leftovers += any(out.rglob(".*.tmp"))
        assert_whole_checkpoints(out)
    assert_same_outcome(out, whole)
    record_property("kills", kills)
    record_property("temporary_files", leftovers)


def seconds_to_write(whole: Path, folder: Path) -> float:
    """How long this run takes to write a checkpoint here."""
    state = checkpoints(whole).load()
    assert state is not None
    began = time.monotonic()
    for step in range(5):
        Checkpoints(folder).save(0, step, state)
    return (time.monotonic() - began) / 5


@pytest.mark.slow
@pytest.mark.trials(len(EVERY))
def test_killed_at_any_moment_whatever_the_method(
    trial: int, draw: Random, tmp_path: Path, record_property: Callable[..., None]
) -> None:
    method, out, kills = EVERY[trial], tmp_path / "out", 0
    data = DIGITS
    if method in TEXT:
        data = ["dataset=text", f"dataset.root={sentences(tmp_path)}", "dataset.name=text", *SMALL]
    lines = [*data, f"method={method}"]
    began = time.monotonic()
    finish(lines, tmp_path / "whole")
    longest = 1.5 * (time.monotonic() - began)
    while (code := wait(start(lines, out), draw.uniform(0, longest))) < 0:
        kills += 1
        assert_whole_checkpoints(out)
    assert code == 0, log(out)
    assert_same_outcome(out, tmp_path / "whole")
    record_property("kills", kills)


@pytest.mark.trials(60)
def test_preempted_within_a_step(trial: int, whole: Path, draw: Random, tmp_path: Path) -> None:
    lines = [*TINY, "runtime.checkpoint_seconds=1e9"]  # only the signal makes a checkpoint
    out, number = tmp_path / "out", draw.choice([signal.SIGTERM, signal.SIGUSR2])
    step = draw.randrange(13)
    code = interrupt(lines, out, (Loop, "step", step), draw.uniform(0, 0.002), number)
    came_last = checkpoints(out).paths()[0].name.startswith("epoch00003")
    if not (came_last and code in (0, -number)):  # otherwise it came after the last step
        assert code == PreemptedError.EXIT_CODE, log(out)
        assert number.name in last_line(out)
    finish(lines, out)
    assert came_last or record(out)["sessions"][-1]["from_step"] > step
    assert_same_outcome(out, whole)


def test_interrupted_by_the_user(whole: Path, tmp_path: Path) -> None:
    out, late = tmp_path / "out", "runtime.checkpoint_seconds=1e9"
    code = interrupt([*TINY, late], out, (Loop, "step", 7), 0.0, signal.SIGINT)
    assert code == StoppedByUserError.EXIT_CODE, log(out)
    first, last = log(out).splitlines()[-2:]
    assert "Ctrl-C again" in first
    assert last.startswith("vicinal: interrupted in epoch 2 of 3, after step ")
    finish([*TINY, late], out)
    assert "resumed in epoch 2 of 3" in log(out)
    assert_same_outcome(out, whole)


@pytest.mark.trials(30)
def test_three_processes_on_one_run(trial: int, whole: Path, draw: Random, tmp_path: Path) -> None:
    """They start within milliseconds; the one at work may be killed."""
    out, children = tmp_path / "out", []
    for name in "abc":
        children.append(start(TINY, out, name=name))
        time.sleep(draw.uniform(0, 0.1))
    codes = [wait(children[0], draw.choice([None, 0.0])), *map(wait, children[1:])]
    for name, code in zip("abc", codes, strict=True):
        refused = code == 1 and "is in use by" in log(out, name)
        assert refused or code in (0, -signal.SIGKILL), log(out, name)
    finish(TINY, out)  # if one of the three has finished, this says so and stops
    assert_same_outcome(out, whole)
