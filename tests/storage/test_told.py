"""A logger shows all of a run once, live or after the fact."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from wording import says

from vicinal.loggers.logger import Beside, RunIdentity
from vicinal.loggers.none import Silent
from vicinal.storage.told import Told

RECORD = {
    "id": "abc",
    "name": "digits/m/erm/abc",
    "seed": 0,
    "config": {},
    "curves": {"epoch": [1.0, 2.0], "test_top1": [90.0, 91.0], "kept_top1": [50.0]},
}
EPOCHS = [(1, {"test_top1": 90.0}), (2, {"test_top1": 91.0, "kept_top1": 50.0})]


@dataclass
class Heard:
    """A logger that keeps what it was told; a `deaf` one fails to show it."""

    place: str = "here"
    deaf: bool = False
    epochs: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    runs: list[RunIdentity] = field(default_factory=list)

    def start(self, run: RunIdentity) -> None:
        self.runs.append(run)

    def log(self, epoch: int, values: dict[str, float]) -> None:
        self.epochs.append((epoch, values))

    def finish(self, record: dict[str, Any], beside: Sequence[Beside]) -> bool:
        return not self.deaf


def shown(folder: Path, logger: Heard, growing: bool = False) -> bool:
    """Type the line of a finished run again."""
    told = Told(logger, folder)
    if opened := told.reopen(RECORD, growing):
        told.finish(RECORD, [])
    return opened


def test_a_finished_run_is_shown_once_with_every_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = Heard(), Heard()
    assert shown(tmp_path, first)
    assert first.epochs == EPOCHS
    (run,) = first.runs
    assert (run.id, run.folder, run.resumed) == ("abc-0", tmp_path, True)
    assert capsys.readouterr().out == ""
    assert not shown(tmp_path, second)
    assert second.runs == second.epochs == []
    (said,) = capsys.readouterr().out.splitlines()
    assert re.search(says("already ... here ... logged.txt"), said)


def test_a_run_that_was_logged_live_is_not_shown_again(tmp_path: Path) -> None:
    Told(Heard(), tmp_path).finish(RECORD, [])
    assert not shown(tmp_path, Heard())


def test_another_place_is_shown_it_too_and_both_are_kept(tmp_path: Path) -> None:
    for place in ("here", "there"):
        assert shown(tmp_path, other := Heard(place))
        assert other.epochs == EPOCHS
    assert not shown(tmp_path, Heard("here"))
    assert not shown(tmp_path, Heard("there"))


def test_what_failed_to_show_it_is_told_again(tmp_path: Path) -> None:
    assert shown(tmp_path, Heard(deaf=True))
    assert shown(tmp_path, again := Heard())
    assert again.epochs == EPOCHS


def test_evaluations_added_later_are_shown_without_the_epochs(tmp_path: Path) -> None:
    assert shown(tmp_path, Heard())
    assert shown(tmp_path, later := Heard(), growing=True)
    assert len(later.runs) == 1
    assert later.epochs == []


def test_no_logger_leaves_no_mark(tmp_path: Path) -> None:
    told = Told(Silent(), tmp_path)
    assert not told.reopen(RECORD, growing=True)
    told.finish(RECORD, [])
    assert list(tmp_path.iterdir()) == []
