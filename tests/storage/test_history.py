"""The history on disk equals the history of the run, whatever a crash left."""

import json
from pathlib import Path
from typing import Any

import pytest

from vicinal.storage.history import Jsonl

HISTORY: list[dict[str, Any]] = [
    {"epoch": epoch, "train_loss": 1 / epoch, "test_top1": 90.0 + epoch} for epoch in range(1, 6)
]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_epoch_adds_its_line(tmp_path: Path):
    log = Jsonl(tmp_path / "history.jsonl")
    for epoch in range(1, 6):
        log.sync(HISTORY[:epoch])
        assert read(log.path) == HISTORY[:epoch]


def test_after_a_cut_at_any_byte_the_file_is_whole_again(tmp_path: Path):
    log = Jsonl(tmp_path / "history.jsonl")
    log.sync(HISTORY)
    whole = log.path.read_bytes()
    for size in range(len(whole) + 1):
        log.path.write_bytes(whole[:size])
        log.sync(HISTORY)
        assert log.path.read_bytes() == whole


def test_what_came_after_the_checkpoint_is_dropped(tmp_path: Path):
    log = Jsonl(tmp_path / "history.jsonl")
    log.sync(HISTORY)
    log.sync(HISTORY[:2])
    assert read(log.path) == HISTORY[:2]


def test_garbage_of_any_length_is_replaced(tmp_path: Path):
    log = Jsonl(tmp_path / "history.jsonl")
    log.sync(HISTORY)
    whole = log.path.read_bytes()
    for size in range(0, len(whole), 7):  # zeros are what some file systems leave after a cut
        log.path.write_bytes(whole[:size] + b"\0" * 20)
        log.sync(HISTORY)
        assert log.path.read_bytes() == whole


def test_an_epoch_end_only_appends(tmp_path: Path):
    # A reader that follows the file (tail -f) keeps it: it is not replaced.
    log = Jsonl(tmp_path / "history.jsonl")
    log.sync(HISTORY[:3])
    inode = log.path.stat().st_ino
    log.sync(HISTORY)
    assert log.path.stat().st_ino == inode


def test_no_number_is_written_that_json_does_not_have(tmp_path: Path):
    log = Jsonl(tmp_path / "history.jsonl")
    log.sync(HISTORY)
    with pytest.raises(ValueError, match="not JSON compliant"):
        log.sync([*HISTORY, {"train_loss": float("nan")}])
    assert read(log.path) == HISTORY
