"""Counts that are kept on disk: found again by the same code, and by no other."""

from pathlib import Path

import pytest

from vicinal.data.size import Size
from vicinal.tables import kept, networks
from vicinal.tables.networks import Counts

FOUND = Counts(1, 2, 3, 4)
MODEL = {"_target_": "vicinal.models.wide_resnet.WideResNet", "_partial_": True, "depth": 10}
MODEL |= {"width": 1}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The networks that are counted; the cache is an empty folder."""
    counted = list[str]()

    def count(model: str, shape: tuple[int, ...], classes: int) -> Counts:
        counted.append(model)
        return FOUND

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(networks, "_count", count)
    return counted


def counts(target: str = MODEL["_target_"]) -> Counts:
    """As another process would ask."""
    networks._counts.cache_clear()
    size = Size(1, 1, (3, 32, 32), 10)
    return networks.counts(MODEL | {"_target_": target}, size)


def test_a_network_is_counted_once(asked: list[str]) -> None:
    assert [counts(), counts()] == [FOUND, FOUND]
    assert len(asked) == 1


def test_other_code_counts_again(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    counts()
    monkeypatch.setattr(kept, "_code", lambda: "changed")
    counts()
    assert len(asked) == 2


def test_a_users_own_network_is_counted_each_time(asked: list[str]) -> None:
    assert counts("mine.Network") == counts("mine.Network") == FOUND
    assert len(asked) == 2


def test_a_damaged_file_is_replaced(asked: list[str], tmp_path: Path) -> None:
    counts()
    (file,) = tmp_path.rglob("*.json")
    file.write_text("[1, 2")
    assert counts() == FOUND
    assert counts() == FOUND
    assert len(asked) == 2


def test_a_folder_that_cannot_be_written_does_not_matter(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "vicinal").write_text("in the way")
    assert [counts(), counts()] == [FOUND, FOUND]
    assert len(asked) == 2


def test_every_source_file_and_library_counts_as_code(monkeypatch: pytest.MonkeyPatch) -> None:
    kept._code.cache_clear()
    before = kept._code()
    kept._code.cache_clear()
    monkeypatch.setattr(kept, "installed", lambda name: "0" if name == "timm" else "1")
    assert kept._code() != before
    kept._code.cache_clear()
