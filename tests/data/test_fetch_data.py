import hashlib
import re
import runpy
import sys
from pathlib import Path

import pytest
from wording import says

from vicinal.data import download, svhn
from vicinal.data.shifted import cifar_c

SCRIPT = str(Path(__file__).parents[2] / "scripts" / "fetch_data.py")


def run(monkeypatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(SCRIPT, run_name="__main__")
    return stopped.value.code


def test_an_unknown_name_lists_the_known_ones(monkeypatch, capsys):
    assert run(monkeypatch, "cifar11") == 2
    assert "known: cifar10, cifar100, stl10, svhn, tiny_imagenet" in capsys.readouterr().err


def test_help_says_how_large_they_are(monkeypatch, capsys):
    assert run(monkeypatch, "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "cifar10 (170 MB)" in said
    assert "uci_arcene (5.4 MB)" in said
    assert "cifar10_1 (12 MB)" in said
    assert "imagenet_c_noise (22,566 MB)" in said


def test_a_shifted_test_set_is_fetched_and_verified(monkeypatch, web, tmp_path, capsys):
    web.files["/c"] = content = b"an archive"
    checksum = f"md5:{hashlib.md5(content).hexdigest()}"
    remote = download.RemoteFile("CIFAR-10-C.tar", (f"{web.url}/c",), checksum, len(content))
    monkeypatch.setattr(cifar_c, "CIFAR10_C", remote)
    monkeypatch.setattr(sys, "argv", [SCRIPT, "cifar10_c", "--root", str(tmp_path)])
    runpy.run_path(SCRIPT, run_name="__main__")
    assert "CIFAR-10-C.tar, verified" in capsys.readouterr().out
    assert (tmp_path / "CIFAR-10-C.tar").read_bytes() == content


def test_what_cannot_be_had_is_one_line(monkeypatch, tmp_path):
    nowhere = download.RemoteFile("train_32x32.mat", ("http://127.0.0.1:9/",), "sha256:0", 10)
    monkeypatch.setattr(svhn, "TRAIN", nowhere)
    said = run(monkeypatch, "svhn", "--root", str(tmp_path))
    assert isinstance(said, str)
    assert re.search(says("^svhn: train_32x32.mat"), said)
    assert "\n" not in said
