"""Checkpoints, packed files and records that are damaged, or never were what their name says."""

import hashlib
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from vicinal.data import npz
from vicinal.errors import RunError
from vicinal.storage import records
from vicinal.storage.checkpoints import Checkpoints


@pytest.mark.parametrize("content", [b"", b"no zip", pickle.dumps([1]), b"PK\x03\x04" + b"0" * 99])
def test_what_never_was_a_checkpoint_is_not_used_although_its_checksum_holds(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, 1, {"step": 1})
    name = f"epoch00001-step0000000001-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    (tmp_path / name).write_bytes(content)
    assert checkpoints.load() == {"step": 1}
    assert re.search(f"{name} .*not used", capsys.readouterr().err)


def test_a_checkpoint_that_the_disk_does_not_give_back_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, 1, {"step": 1})
    (tmp_path / "epoch00002-step0000000002-0.pt").mkdir()  # reading it is an OSError
    assert checkpoints.load() == {"step": 1}
    assert re.search("Is a directory.*not used", capsys.readouterr().err)


def test_a_packed_file_that_is_damaged_or_hostile_counts_as_not_packed(tmp_path: Path) -> None:
    path = tmp_path / "packed.npz"
    np.savez(path, key=np.array([print], dtype=object))
    assert npz.key(path) is None
    np.savez(path, key=np.array("abc"))
    assert npz.key(path) == "abc"
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert npz.key(path) in ("abc", None)


RECORD = {"name": "digits/wrn10_2/erm/abc", "seed": 0, "metrics": {"last": {"top1": 90.0}}}


def test_a_record_that_lies_twice_counts_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(RECORD))
    (tmp_path / "b.json").write_text(json.dumps(RECORD, indent=2))
    assert records.load(tmp_path) == [RECORD]
    assert "b.json repeats " in capsys.readouterr().err
    (tmp_path / "c.json").write_text(json.dumps(RECORD | {"seed": 1}))
    assert len(records.load(tmp_path)) == 2


def test_two_records_of_one_run_that_differ_are_both_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(RECORD))
    (tmp_path / "b.json").write_text(json.dumps(RECORD | {"failed": "yes"}))
    with pytest.raises(RunError, match=r"a\.json and .*b\.json are records of one run and differ"):
        records.load(tmp_path)


@pytest.mark.parametrize("text", ["", '{"name": "x"', "[1]", '{"name": "x"}', "\ufffd"])
def test_a_damaged_record_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RunError, match=r"a\.json is (damaged|no record)"):
        records.load(tmp_path)
