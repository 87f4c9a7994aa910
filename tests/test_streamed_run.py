"""Whole runs on a folder of photographs that is streamed: resumed, on ranks, with bad files."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import photos
import pytest
import torch
from composing import compose
from whole_runs import killed
from wording import says

from vicinal.cli.configs import build, resolved
from vicinal.errors import RunError
from vicinal.run import Run

TRAIN = Path(__file__).parents[1] / "train.py"
SMALL = (
    "dataset=image_stream dataset.size=16 dataset.resize=20 dataset.holdout_per_class=1 "
    "model=wrn10_2 method=mixup runtime=cpu runtime.threads=1 runtime.checkpoint_seconds=0 "
    "runtime.progress=false schedule.epochs=2 schedule.batch_size=5 clean.batch_size=4"
).split()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos.folder(tmp_path_factory.mktemp("photos") / "set", train=5, val=2)


def execute(root: Path, out: Path, *overrides: str) -> dict[str, Any]:
    """A run as the command line makes it; its record."""
    paths = [f"dataset.root={root}", f"out={out}", f"results={out}/results"]
    config = compose(*SMALL, *paths, *overrides)
    run: Run = build(config)
    run.execute(resolved(config), {"model": "wrn10_2", "method": "some"})
    (path,) = out.rglob("record.json")
    return json.loads(path.read_text())


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    curves = {key: value for key, value in record["curves"].items() if key != "seconds"}
    return {"id": record["id"], "metrics": record["metrics"], "curves": curves}


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_a_run_stopped_anywhere_ends_as_if_it_never_was_on_whatever_workers(
    root: Path, stop: int, tmp_path: Path
) -> None:
    """12 images in batches of 5: stopped in the first epoch, at its end, in the second."""
    whole = execute(root, tmp_path / "whole", "runtime.workers=0")
    with killed(lambda loop: loop.steps_done == stop):
        execute(root, tmp_path / "stopped", "runtime.workers=2")
    torch.manual_seed(99)
    resumed = execute(root, tmp_path / "stopped", "runtime.workers=1")
    assert without_time(resumed) == without_time(whole)
    assert [session["from_step"] for session in resumed["sessions"]] == [0, stop]
    assert whole["data"]["samples"] == {"train": 12, "valid": 3, "test": 6}
    assert "replaced" not in whole["data"]


def test_replaced_images_are_counted_over_all_sessions(tmp_path: Path) -> None:
    root = photos.folder(tmp_path / "set", train=5, val=2)
    photos.damage(root / "train" / "class1" / "01.JPEG")
    photos.damage(root / "val" / "class0" / "00.JPEG")
    settings = ["dataset.corrupt=replace", "runtime.workers=0"]
    with killed(lambda loop: loop.steps_done == 6, after="save"):
        execute(root, tmp_path / "out", *settings)
    assert execute(root, tmp_path / "out", *settings)["data"]["replaced"] == 2


def test_a_method_that_needs_all_samples_says_so(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says("^method ... memory ... streamed")):
        execute(root, tmp_path, "method=knn_mixup", "runtime.workers=0")


def test_it_learns(root: Path, tmp_path: Path) -> None:
    """Two photographs; a network that saw nothing of them would be right once in two."""
    found = execute(
        root,
        tmp_path,
        *("method=erm", "schedule.epochs=12", "optimizer.lr=0.02", "schedule=constant"),
        *("dataset.train_per_class=4", "dataset.holdout_per_class=0", "runtime.workers=2"),
    )
    assert found["curves"]["train_loss"][-1] < 0.8 * found["curves"]["train_loss"][0]


def command(root: Path, out: Path, *overrides: str) -> list[str]:
    paths = [f"dataset.root={root}", f"out={out}", f"results={out}/results"]
    return [sys.executable, str(TRAIN), *SMALL, *paths, *overrides]


def test_a_run_whose_worker_is_killed_ends_in_one_line(root: Path, tmp_path: Path) -> None:
    line = command(root, tmp_path, "runtime.workers=2", "schedule.epochs=60")
    pipe = subprocess.PIPE
    job = subprocess.Popen(line, text=True, stdout=pipe, stderr=pipe)
    while not list(tmp_path.glob("**/epoch*.pt")):
        time.sleep(0.05)
        assert job.poll() is None
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 1
    (said,) = errors.strip().splitlines()
    assert re.search(says(f"^vicinal: ... worker {children[0]} ... SIGKILL"), said)
    for worker in children:
        assert not Path(f"/proc/{worker}").exists()


def test_workers_leave_with_a_run_that_is_killed(root: Path, tmp_path: Path) -> None:
    line = command(root, tmp_path, "runtime.workers=2", "schedule.epochs=60")
    job = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("**/epoch*.pt")):
        time.sleep(0.05)
        assert job.poll() is None
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    assert len(children) == 2
    job.kill()
    job.wait()
    deadline = time.monotonic() + 20
    while any(_alive(worker) for worker in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("runtime.decode=gpu", "runtime.decode ... cpu ... CUDA ... gpu"),
        ("runtime.workers=-1", "runtime.workers ... 0 ... -1"),
        ("dataset.resize=8", "dataset.resize ... size ... 16 ... 8"),
    ],
)
def test_what_cannot_be_decoded_is_refused_at_once(root: Path, setting: str, rule: str) -> None:
    config = compose(*SMALL, f"dataset.root={root}", setting)
    with pytest.raises(ValueError, match=says(rule)):
        build(config)


def test_who_decodes_is_no_part_of_a_runs_name(root: Path, tmp_path: Path) -> None:
    found = [
        execute(root, tmp_path / str(workers), f"runtime.workers={workers}", "schedule.epochs=1")
        for workers in (0, 1)
    ]
    assert found[0]["name"] == found[1]["name"]


def test_a_corrupt_image_stops_a_run_in_one_line(tmp_path: Path) -> None:
    root = photos.folder(tmp_path / "set", train=5, val=2)
    path = photos.damage(root / "val" / "class0" / "01.JPEG")
    with pytest.raises(RunError) as found:
        execute(root, tmp_path / "out", "runtime.workers=1", "schedule.epochs=1")
    assert re.search(says(f"^{path} ... image"), str(found.value))
    assert "\n" not in str(found.value)
