"""A file is whole or not there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vicinal.storage.files import (
    atomic,
    prepare_folder,
    remove_leftovers,
    write_bytes_atomically,
    write_json_atomically,
)
from vicinal.storage.run_folder import write_record


def test_the_old_content_stays_in_place_until_the_new_is_whole(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with atomic(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.parent == tmp_path  # renaming across file systems would not be atomic
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, failure: type[BaseException]
):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(failure), atomic(path) as temporary:  # noqa: PT012 (it is what fails)
        temporary.write_bytes(b"half")
        raise failure
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_the_disk_before_its_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        events.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().suffix}")
        fsync(descriptor)

    def watched_replace(self: Path, target: Path) -> Path:
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    write_bytes_atomically(tmp_path / "file", b"content")
    assert events == ["fsync .tmp", "rename", "fsync "]


def test_a_killed_writer_leaves_what_the_lock_holder_can_remove(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "file").write_bytes(b"old")
    program = (
        "import os, pathlib, sys; from vicinal.storage.files import atomic\n"
        "with atomic(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder / "file")], check=False)
    assert done.returncode == -9
    assert len(list(folder.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_bytes() == b"old"


def test_equal_values_are_equal_files(tmp_path: Path):
    write_json_atomically(tmp_path / "a", {"b": 0.1, "a": {"d": 1, "c": "é"}})
    write_json_atomically(tmp_path / "b", {"a": {"c": "é", "d": 1}, "b": 0.1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_text() == '{\n "a": {\n  "c": "é",\n  "d": 1\n },\n "b": 0.1\n}\n'


def test_a_path_that_is_not_utf8_comes_back_from_a_file_that_is(tmp_path: Path):
    value = {"arrays": os.fsdecode(b"donn\xe9es/\xff.npz"), "é": "\\udce9"}
    write_json_atomically(tmp_path / "file", value)
    assert json.loads((tmp_path / "file").read_text(encoding="utf-8")) == value


def test_a_folder_that_takes_no_file_is_found_out(tmp_path: Path):
    prepare_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file/b"):
        prepare_folder(tmp_path / "file" / "b")


@pytest.mark.parametrize("value", [1, -3, 0.1, 1e-300, 93.41000000000001, True, None])
def test_numbers_come_back_as_the_numbers_they_were(tmp_path: Path, value: object):
    write_json_atomically(tmp_path / "file", {"value": value})
    read = json.loads((tmp_path / "file").read_text())["value"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused_and_the_old_file_stays(tmp_path: Path, value: float):
    write_json_atomically(tmp_path / "file", {"value": 1.0})
    before = (tmp_path / "file").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json_atomically(tmp_path / "file", {"value": value})
    assert (tmp_path / "file").read_bytes() == before


def test_the_history_is_on_the_disk_before_the_record_says_that_the_run_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    synced: list[str] = []
    monkeypatch.setattr("vicinal.storage.run_folder.sync", lambda path: synced.append(path.name))
    (tmp_path / "history.jsonl").write_text("{}\n")
    write_record(tmp_path, {"name": "a", "seed": 0})
    assert synced == ["history.jsonl"]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")  # write() does not say where

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/file'"):
        write_bytes_atomically(tmp_path / "file", b"content")
