import hashlib
import sys

import pytest

from vicinal.commands import fetch
from vicinal.data import download


def run(monkeypatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["vicinal fetch", *arguments])
    with pytest.raises(SystemExit) as stopped:
        fetch.main()
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
    monkeypatch.setitem(fetch.FILES, "cifar10_c", (remote,))
    monkeypatch.setattr(sys, "argv", ["vicinal fetch", "cifar10_c", "--root", str(tmp_path)])
    fetch.main()
    assert "CIFAR-10-C.tar, verified" in capsys.readouterr().out
    assert (tmp_path / "CIFAR-10-C.tar").read_bytes() == content


def test_what_cannot_be_had_is_told_with_the_way_by_hand(monkeypatch, tmp_path, capsys):
    nowhere = download.RemoteFile("train_32x32.mat", ("http://127.0.0.1:9/",), "sha256:0", 10)
    monkeypatch.setitem(fetch.FILES, "svhn", (nowhere,))
    assert run(monkeypatch, "svhn", "--root", str(tmp_path)) == 1
    missing, by_hand, _ = capsys.readouterr().err.splitlines()
    assert missing.startswith("vicinal: train_32x32.mat is not in ")
    assert by_hand.startswith("By hand: put http://127.0.0.1:9/ (10 bytes, sha256:0) there as ")
