"""An exported network is the one that the run measured, and loads elsewhere."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import compose
from detection_samples import SMALL as DRAWN
from detection_samples import drawn_set
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F
from whole_runs import execute
from wording import says

from vicinal.cli.configs import build
from vicinal.errors import RunError
from vicinal.run import Run
from vicinal.storage.export import export

ROOT = Path(__file__).parents[2]


def folder_of(out: Path) -> Path:
    (path,) = out.rglob("record.json")
    return path.parent


def loaded(line: str) -> nn.Module:
    """What the printed line makes."""
    names: dict[str, Any] = {}
    exec(line, names)
    return names["network"].eval()


TIMM = ("model=timm", "model.name=test_efficientnet", "dataset.size=32")


@pytest.mark.parametrize(
    "lines",
    [
        (*TIMM, "+model.options={drop_rate: 0.5, drop_path_rate: 0.1}"),
        (*TIMM, "model.freeze_norms=true"),  # loaded into a network whose norms are not
        ("model=timm", "model.name=test_vit", "dataset.size=32"),  # made for 160 pixels
        ("model=wrn10_2", "dataset.size=8"),
        ("model=wrn28_2_oliver", "model.depth=10", "dataset.size=8"),
        ("model=mlp", "model.width=16", "dataset.size=8"),
    ],
)
def test_the_printed_line_loads_the_network_that_was_measured(
    lines: tuple[str, ...], tmp_path: Path
) -> None:
    given = "optimizer.ema_decay=0.5", "optimizer.lr=0.01", "method=mixup"
    record = execute(tmp_path / "out", *lines, *given)
    path = tmp_path / "it's.safetensors"
    network = loaded(export(folder_of(tmp_path / "out"), path))
    with safe_open(path, "pt") as file:
        words = file.metadata()
    assert words["name"] == record["name"]
    assert accuracy(network, words, *lines) == pytest.approx(record["metrics"]["last"]["nll"])


def test_networks_of_grey_images_load_too(tmp_path: Path) -> None:
    x, y = torch.randint(256, (12, 1, 32, 32), dtype=torch.uint8).numpy(), np.arange(12) % 3
    arrays = tmp_path / "grey.npz"
    np.savez(arrays, x_train=x, y_train=y, x_test=x, y_test=y)
    given = "dataset=npz", f"dataset.arrays={arrays}", "schedule.epochs=1"
    execute(tmp_path / "out", *given, *TIMM[:2])
    network = loaded(export(folder_of(tmp_path / "out"), tmp_path / "a.safetensors"))
    assert network(torch.zeros(1, 1, 32, 32)).shape == (1, 3)


def accuracy(network: nn.Module, words: dict[str, str], *lines: str) -> float:
    """The test loss of a network that is fed as its metadata say."""
    run: Run = build(compose("dataset=digits", *(line for line in lines if "dataset" in line)))
    test = run.dataset.load().test
    mean, std = (torch.tensor(json.loads(words[key])).view(-1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        logits = network((test.x / 255 - mean) / std)
    return F.cross_entropy(logits, test.y).item()


def test_what_a_method_changed_is_said(tmp_path: Path) -> None:
    execute(tmp_path / "out", "method=augmax")
    said = export(folder_of(tmp_path / "out"), tmp_path / "a.safetensors")
    assert re.search(says("method ... network"), said)


def test_no_line_is_promised_for_a_detector(tmp_path: Path) -> None:
    folder, lines = drawn_set(tmp_path / "drawn"), (*DRAWN, "schedule.epochs=0")
    given = "dataset=detection", f"dataset.root={folder}", "model=mask_rcnn"
    execute(tmp_path / "out", *given, *lines)
    said = export(folder_of(tmp_path / "out"), tmp_path / "a.safetensors")
    assert re.search(says("is a detector"), said)


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=says("network.pt ... .safetensors")):
        export(tmp_path, tmp_path / "network.pt")
    with pytest.raises(RunError, match=says(f"{tmp_path} ... finished")):
        export(tmp_path, tmp_path / "network.safetensors")
    (tmp_path / "record.json").write_text('{"name": "a", "seed": 0}')
    with pytest.raises(RunError, match=says("weights ... last ... none")):
        export(tmp_path, tmp_path / "network.safetensors")


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Every call in a file, by the last two names of what is called."""
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [(".".join(ast.unparse(call.func).split(".")[-2:]), call) for call in found]


FILES = [*ROOT.glob("src/**/*.py"), *ROOT.glob("scripts/**/*.py"), ROOT / "train.py"]
ONLY_SAFELY: dict[str, tuple[str, Any]] = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "np.savez": ("allow_pickle", False),
}
NEVER = ("pickle.load", "pickle.loads", "loads_pickle", "archive.extractall", "archive.extract")
NEVER += ("tar.extractall", "tar.extract", "shutil.unpack_archive", "os.system", "yaml.load")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_loaded_that_could_execute_or_leave_its_folder(path: Path) -> None:
    for name, call in calls(path):
        assert name not in NEVER, f"{path}:{call.lineno}"
        if name in ONLY_SAFELY:
            key, value = ONLY_SAFELY[name]
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert given.get(key) == str(value), f"{path}:{call.lineno} {name}"
