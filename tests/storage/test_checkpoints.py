"""What is left of a run on disk, after every accident we can stage."""

import multiprocessing
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from wording import says

from vicinal.errors import RunError
from vicinal.storage.checkpoints import Checkpoints
from vicinal.storage.run_folder import locked


def state(step: int) -> dict[str, Any]:
    return {"step": step, "weights": torch.full((100,), float(step)), "history": [{"loss": 0.5}]}


def test_the_last_two_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.load() is None
    for step in (1, 2, 30):
        checkpoints.save(0, step, state(step))
    assert [path.name.split("-")[1] for path in checkpoints.paths()] == [
        "step0000000030",
        "step0000000002",
    ]
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded["step"] == 30
    assert torch.equal(loaded["weights"], state(30)["weights"])


def test_a_closed_epoch_is_newer_than_its_last_step(tmp_path: Path) -> None:
    for closed in range(8):  # whatever the checksums, which also stand in the names
        checkpoints = Checkpoints(tmp_path / str(closed))
        checkpoints.save(closed, 9, {"closed": False})
        checkpoints.save(closed + 1, 9, {"closed": True})
        assert checkpoints.load() == {"closed": True}


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied"])
def test_a_damaged_newest_is_reported_and_the_one_before_used(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(0, step, state(step))
    newest, before = checkpoints.paths()
    spoil(newest, damage)
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded["step"] == 1
    assert re.search(says(f"{newest} ... damaged"), capsys.readouterr().err)
    spoil(before, damage)
    with pytest.raises(RunError, match=says("2 ... checkpoints ... delete")):
        checkpoints.load()


def spoil(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"truncated": content[:-7], "flipped": content, "emptied": b""}[damage])


@pytest.mark.parametrize("position", range(0, 2000, 97))
def test_no_flipped_bit_goes_unnoticed(position: int, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, 1, state(1))
    (path,) = checkpoints.paths()
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << (position % 8)
    path.write_bytes(content)
    with pytest.raises(RunError):
        checkpoints.load()


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('executed')",))


def test_a_checkpoint_executes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, 1, {"weights": Malicious()})
    with pytest.raises(RunError):
        checkpoints.load()
    assert re.search(says("checkpoint ... tensors"), capsys.readouterr().err)


def hold(folder: Path, ready: Any, release: Any) -> None:
    with locked(folder):
        ready.set()
        release.wait(30)


def test_the_second_process_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path, ready, release))
    holder.start()
    assert ready.wait(60)
    with (
        pytest.raises(RunError, match=says(f"process {holder.pid}")),
        locked(tmp_path),
    ):
        pass
    holder.kill()  # the lock dies with its holder
    holder.join()
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text().startswith("process ")
