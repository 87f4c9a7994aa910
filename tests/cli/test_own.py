"""A folder of the user's own: its configs are found, and the Python beside them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from forks import Fork
from safetensors.torch import load_file
from whole_runs import SMALL
from wording import says

from vicinal.cli import search
from vicinal.cli.own import importable
from vicinal.commands import evaluate, export

FOCAL = '''
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from torch import Tensor, nn

from vicinal.contracts import Method


@dataclass(frozen=True)
class Focal(Method):
    """The focal loss: (1 - p)^gamma times the cross-entropy."""

    gamma: float = 2.0

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, rng: object) -> Iterator[Tensor]:
        log_p = model(x).log_softmax(1)
        yield -(y * (1 - log_p.exp()) ** self.gamma * log_p).sum(1).mean()


class Linear(nn.Sequential):
    stages = ("1",)

    def __init__(self, num_classes: int, shape: tuple[int, int, int]) -> None:
        super().__init__(nn.Flatten(), nn.Linear(prod(shape), num_classes))
'''
WORDS = [
    *(word for word in SMALL if not word.startswith("model=")),
    *"model=linear method=focal method.gamma=3 runtime.progress=false".split(),
]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("somewhere") / "mine, 'quoted'"
    for name, text in {
        "method/focal": "_target_: focal.Focal\ngamma: 2.0\n",
        "model/linear": "_target_: focal.Linear\n_partial_: true\n",
        "evaluation/mine": "mine: {_target_: vicinal.evaluation.own_splits.OwnSplits, bins: 5}\n",
    }.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (folder / "focal.py").write_text(FOCAL)
    return folder


@pytest.fixture
def _path_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setattr(search, "_SEARCHED", [])
    yield
    sys.modules.pop("focal", None)


@pytest.mark.usefixtures("_path_as_before")
def test_a_folder_comes_last_and_once_here_and_in_processes_started_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/first")
    Path("mine").mkdir()
    importable(Path("mine"))
    importable(tmp_path / "mine")
    assert sys.path[-1] == str(tmp_path / "mine")
    assert sys.path.count(str(tmp_path / "mine")) == 1
    assert os.environ["PYTHONPATH"] == f"/first{os.pathsep}{tmp_path / 'mine'}"


@pytest.mark.usefixtures("_path_as_before")
def test_a_method_of_ones_own_trains_is_measured_and_exported(
    mine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    process = Fork(["--config-dir", str(mine), *WORDS], tmp_path, os.environ)
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    (path,) = tmp_path.rglob("record.json")
    record = json.loads(path.read_text())
    assert record["config"]["method"] == {"_target_": "focal.Focal", "gamma": 3}
    copy = tmp_path / "runs" / "results" / "runs" / f"{record['name']}-seed0.json"
    assert json.loads(copy.read_text())["name"] == record["name"]

    words = ["vicinal export", str(path.parent), str(tmp_path / "out.safetensors")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        export.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(
        says("^vicinal: ... _target_=focal.Linear ... focal.py ... --config-dir"), line
    )
    own = "--config-dir", str(mine)
    monkeypatch.setattr(sys, "argv", [*words, *own])
    export.main()
    assert {*load_file(words[-1])} == {"1.weight", "1.bias"}
    words = ["vicinal evaluate", str(path.parent), "evaluation=mine", "runtime=cpu"]
    monkeypatch.setattr(sys, "argv", [*words, *own])
    evaluate.main()
    ((name, found),) = json.loads(path.read_text())["evaluations"].items()
    assert name.startswith("mine-last-")
    assert found["config"]["bins"] == 5


@pytest.mark.slow
def test_a_method_of_ones_own_trains_from_anywhere_and_side_by_side(
    mine: Path, tmp_path: Path
) -> None:
    two = "hydra/launcher=gpus", "hydra.launcher.per_gpu=2"
    words = ["--config-dir", os.path.relpath(mine, tmp_path), "-m", *WORDS, "seed=0,1", *two]
    command = [sys.executable, "-m", "vicinal.train", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("record.json"))) == 2
