"""A sweep of runs side by side, of which any process may be killed: nothing is lost or twice."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.runs import TINY
from launched import (
    Launched,
    assert_nothing_lost_or_twice,
    await_end,
    histories,
    longer,
    records,
)
from wording import says

from vicinal.errors import PreemptedError, StoppedByUserError

EPOCHS = 90
LINE = [
    *(word for word in TINY if "checkpoint_seconds" not in word and "epochs" not in word),
    *("runtime.checkpoint_seconds=1e9", f"schedule.epochs={EPOCHS}", "seed=0,1,2"),
]  # only a signal makes a checkpoint


def disturb(folder: Path, act: Callable[[Launched], None]) -> tuple[int | None, str, str]:
    """Start the line, and act once two of its runs train."""
    before = histories(folder)
    sweep = Launched(LINE, folder)
    while len(longer(histories(folder), before)) < 2:
        assert sweep.poll() is None, sweep.communicate()
        time.sleep(0.05)
    runs = sweep.runs
    act(sweep)
    out, err = sweep.communicate()
    await_end(runs)
    return sweep.returncode, out, err


def killed(number: int, which: Callable[[Launched], int]) -> Callable[[Launched], None]:
    return lambda sweep: os.kill(which(sweep), number)


def launcher(sweep: Launched) -> int:
    return sweep.pid


@pytest.mark.usefixtures("interrupts")
def test_whatever_is_killed_the_same_line_goes_on(tmp_path: Path) -> None:
    disturbed, whole = tmp_path / "disturbed", tmp_path / "whole"
    for folder in (disturbed, whole):
        folder.mkdir()

    code, _, err = disturb(disturbed, killed(signal.SIGINT, launcher))
    assert code == StoppedByUserError.EXIT_CODE
    assert re.search(says("vicinal ... checkpoints ... Ctrl-C again ... at once"), err)
    assert len(list(disturbed.rglob("*.pt"))) == 2

    code, _, err = disturb(disturbed, killed(signal.SIGTERM, launcher))
    assert code == PreemptedError.EXIT_CODE
    assert re.search(says("vicinal ... stopped by SIGTERM ... same line again resumes"), err)

    code, _, _ = disturb(disturbed, killed(signal.SIGKILL, launcher))
    assert code == -signal.SIGKILL

    code, _, err = disturb(disturbed, killed(signal.SIGKILL, lambda sweep: sweep.nursery))
    assert code == 1
    assert re.search(says("vicinal: ... killed by SIGKILL ... same line again resumes"), err)

    before = {path: path.read_bytes() for path in disturbed.rglob("*.pt")}
    assert before  # of runs whose launcher and whose nursery were killed

    code, out, err = disturb(disturbed, killed(signal.SIGKILL, lambda sweep: sweep.runs[0]))
    assert code == 1
    assert re.search(r"killed by SIGKILL.* \(log: runs/sweeps/.*\.log\)", out), out
    assert re.search("1 of 3 runs failed", out)
    assert len(records(disturbed)) == 2  # the others went on

    logs = "".join(path.read_text() for path in disturbed.rglob("sweeps/*.log"))
    assert logs.count("resumed ") >= 6

    for folder in (disturbed, whole):
        sweep = Launched(LINE, folder)
        sweep.communicate()
        assert sweep.returncode == 0
    assert_nothing_lost_or_twice(disturbed, whole, EPOCHS)
