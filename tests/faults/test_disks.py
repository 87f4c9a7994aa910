"""Disks that are full, and runs that go on from files that are not what was written."""

import json
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
from faults.runs import (
    TINY,
    assert_same_outcome,
    checkpoints,
    finish,
    flattened,
    interrupt,
    last_line,
    log,
    start,
    wait,
)

from vicinal.errors import RunError
from vicinal.loop import Loop
from vicinal.storage import records
from vicinal.storage.checkpoints import Checkpoints

pytestmark = pytest.mark.xdist_group("faults")  # one undisturbed run for all


@pytest.mark.trials(60)
def test_full_disk(
    trial: int, whole: Path, draw: Random, tmp_path: Path, record_property: Callable[..., None]
) -> None:
    """A random size for all that a run writes; once there is room, it goes on."""
    written = sum(path.stat().st_size for path in whole.rglob("*"))
    out, size = tmp_path / "out", draw.randrange(4096, 2 * written)
    with small_disk(out, size) as mounted:
        limit = (size // 4, size // 4)  # of a file, where there can be no disk of that size
        prepare = partial(resource.setrlimit, resource.RLIMIT_FSIZE, limit)
        code = wait(start(TINY, out, (lambda: None) if mounted else prepare))
        full = last_line(out).startswith(("vicinal: No space left", "vicinal: File too large"))
        assert code == 0 or (code == 1 and full), log(out)
        if mounted:
            subprocess.run(["mount", "-o", "remount,size=64m", out], check=True)
        finish(TINY, out)
        assert_same_outcome(out, whole)
    record_property("full", code)
    record_property("by", "tmpfs" if mounted else "RLIMIT_FSIZE")


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a tmpfs of that many bytes; whether that was allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "vicinal-faults", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)


def damaged(content: bytes, draw: Random) -> bytes:
    """Cut at a random byte, or with one to eight random bits flipped."""
    if draw.random() < 0.5:
        return content[: draw.randrange(len(content))]
    changed = bytearray(content)
    for bit in draw.sample(range(8 * len(content)), draw.randint(1, 8)):
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.trials(300)
def test_damaged_checkpoint(
    trial: int, whole: Path, draw: Random, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is reported and the one before it is used, unless both are damaged."""
    found = Checkpoints(shutil.copytree(checkpoints(whole).folder, tmp_path / "checkpoints"))
    newest, before = found.paths()
    content = newest.read_bytes()
    newest.unlink()
    expected = dict(flattened("", found.load()))
    newest.write_bytes(damaged(content, draw))
    assert dict(flattened("", found.load())) == expected
    assert f"{newest} is damaged" in capsys.readouterr().err
    before.write_bytes(damaged(before.read_bytes(), draw))
    with pytest.raises(RunError, match="none of the 2 checkpoints"):
        found.load()


@pytest.mark.trials(20)
def test_run_whose_checkpoint_is_damaged(
    trial: int, whole: Path, draw: Random, tmp_path: Path
) -> None:
    out, both = tmp_path / "out", draw.random() < 0.2
    interrupt(TINY, out, (Checkpoints, "save", draw.randrange(3, 15)), 0.0, signal.SIGKILL)
    for path in checkpoints(out).paths()[: 2 if both else 1]:
        path.write_bytes(damaged(path.read_bytes(), draw))
    code = wait(start(TINY, out))
    assert "is damaged" in log(out)
    if both:
        assert code == 1
        assert last_line(out).startswith("vicinal: none of the 2 checkpoints")
    else:
        assert code == 0, log(out)
        assert_same_outcome(out, whole)


@pytest.mark.trials(30)
def test_history_of_a_killed_run(trial: int, whole: Path, draw: Random, tmp_path: Path) -> None:
    """It ends at a random byte, or in zeros or half a line; the run that goes on mends it."""
    for attempt in range(10):  # a kill may come late, when the run has its record
        out = tmp_path / f"out{attempt}"
        interrupt(TINY, out, (Loop, "step", draw.randrange(7, 15)), 0.0, signal.SIGKILL)
        if not list(out.rglob("record.json")):
            break
    (path,) = out.rglob("history.jsonl")
    kept = path.read_bytes()[: draw.randrange(path.stat().st_size + 1)]
    path.write_bytes(kept + draw.choice([b"", b"\0" * draw.randint(1, 99), b'{"epoch": 1']))
    finish(TINY, out)
    state = checkpoints(out).load()
    assert state is not None
    assert [json.loads(line) for line in path.read_text().splitlines()] == state["history"]
    assert_same_outcome(out, whole)


@pytest.mark.trials(40)
def test_loss_or_weight_that_is_not_finite(
    trial: int, whole: Path, draw: Random, tmp_path: Path
) -> None:
    """The run stops, keeps no such checkpoint, and resumes once the cause is gone."""
    out, step, what = tmp_path / "out", draw.randrange(1, 16), draw.choice(["weight", "loss"])
    lines = [*TINY, f"runtime.checkpoint_seconds={draw.choice([0, 1e9])}"]
    assert wait(start(lines, out, partial(poison, step, what))) == 1, log(out)
    assert last_line(out).startswith("vicinal: ")
    assert "not finite" in last_line(out)
    for path in checkpoints(out).paths():
        state = Checkpoints(path.parent).load()
        assert state is not None
        assert all(tensor.isfinite().all() for tensor in state["loop"]["model"].values())
    (copy,) = (out / "results").rglob("*.json")
    assert "not finite" in records.read(copy)["failed"]
    finish(lines, out)
    assert_same_outcome(out, whole)


def poison(step: int, what: str) -> None:
    """In a child: put a NaN after that many steps."""
    original = Loop.step

    def poisoned(self: Loop, *batch: object) -> None:
        original(self, *batch)
        if self.steps_done == step and what == "weight":
            next(self.model.parameters()).data.view(-1)[0] = float("nan")
        elif self.steps_done == step:
            loss, size = self.losses[-1]
            self.losses[-1] = (loss * float("nan"), size)

    setattr(Loop, "step", poisoned)  # noqa: B010 (it takes any batch)
