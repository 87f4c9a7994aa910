"""MPS's daemon starts and stops with the block, and nobody else's is touched."""

import os
import stat
from pathlib import Path

import pytest

from vicinal.errors import RunError
from vicinal.machine import mps


def control(folder: Path, body: str) -> Path:
    """Stands for NVIDIA's program: notes how it is called."""
    program = folder / "bin" / mps.CONTROL
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "$1 $CUDA_MPS_PIPE_DIRECTORY $(cat)" >> {folder}/called\n')
    with program.open("a") as file:
        file.write(f"{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program.parent


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No daemon runs on this machine."""
    monkeypatch.delenv(mps.PIPE, raising=False)
    monkeypatch.setattr(mps, "DEFAULT_PIPE", tmp_path / "default" / "control")
    return monkeypatch


def test_mps_is_quit_whatever_happens_in_folders_of_its_own(
    tmp_path: Path, alone: pytest.MonkeyPatch
) -> None:
    alone.setenv("PATH", f"{control(tmp_path, '')}:{os.environ['PATH']}")
    assert mps.installed()
    pipes: list[str] = []

    def interrupted() -> None:
        with mps.mps(os.environ) as shared:
            pipes.append(shared[mps.PIPE])
            assert Path(pipes[0]).is_dir()
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    (pipe,) = pipes
    assert (tmp_path / "called").read_text().splitlines() == [f"-d {pipe} ", f" {pipe} quit"]
    assert not Path(pipe).exists()
    assert mps.PIPE not in os.environ


def test_mps_that_does_not_start_is_an_error_of_one_line(
    tmp_path: Path, alone: pytest.MonkeyPatch
) -> None:
    alone.setenv("PATH", f"{control(tmp_path, 'exit 1')}:{os.environ['PATH']}")
    with pytest.raises(RunError, match=rf"^{mps.CONTROL} -d failed.*$"), mps.mps(os.environ):
        pytest.fail("begun all the same")


@pytest.mark.parametrize("told", [True, False])
def test_a_daemon_that_already_runs_is_used_and_left(
    tmp_path: Path, alone: pytest.MonkeyPatch, told: bool
) -> None:
    alone.setenv("PATH", f"{control(tmp_path, '')}:{os.environ['PATH']}")
    if told:
        alone.setenv(mps.PIPE, "/somewhere")
    else:
        mps.DEFAULT_PIPE.parent.mkdir()
        mps.DEFAULT_PIPE.touch()
    with mps.mps(os.environ) as shared:
        assert shared == dict(os.environ)
    assert not (tmp_path / "called").exists()
