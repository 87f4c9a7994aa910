"""An exported network is the one that the run measured, and loads elsewhere."""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import compose
from detection_samples import SMALL as DRAWN
from detection_samples import drawn_set
from torch import Tensor, nn
from whole_runs import execute, small
from wording import says

import vicinal
from vicinal.cli.configs import build
from vicinal.errors import RunError
from vicinal.run import Run
from vicinal.storage import weights
from vicinal.storage.export import export
from vicinal.storage.run_folder import read_record

ROOT = Path(__file__).parents[2]
TIMM = "model=timm dataset.size=32".split()
CASES = {
    "average": "method=erm optimizer.ema_decay=0.5".split(),
    "flat": "method=mixup model=mlp model.width=16".split(),
    "patchup": "method=patchup_soft".split(),
    "gradaug": "method=gradaug".split(),
    "augmax": "method=augmax method.steps=1".split(),
    "shakedrop": "method=shakedrop".split(),
    "teacher": "method=mean_teacher".split(),
    "gates": ["method=stochastic_depth", *TIMM, "model.name=test_resnet"],
    "vit": "method=mixup model=timm model.name=test_vit dataset.size=64".split(),
    "frozen": [*TIMM, "model.name=test_efficientnet", "model.freeze_norms=true"],
    "options": [*TIMM, "model.name=test_convnext", "+model.options={drop_rate: 0.5}"],
    "resnet18": [*TIMM, "model.name=resnet18", "schedule.epochs=0"],
}
SLOW = ("patchup", "gradaug", "options", "resnet18")  # for which others stand
OF_TIMM = ("vit", "frozen", "options", "resnet18")  # those that timm alone can load


@dataclass(frozen=True)
class Trained:
    """A finished run, its exports and the lines that were printed for them."""

    case: str
    folder: Path
    x: Tensor  # test images
    logits: Tensor
    moments: list[Tensor]
    lines: dict[Path, list[str]]


@pytest.fixture(
    scope="module",
    params=[pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CASES],
)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    out, lines = tmp_path_factory.mktemp("trained"), CASES[request.param]
    given = [*lines, *(() if "schedule.epochs=0" in lines else ("schedule.epochs=1",))]
    execute(out / "out", *given)
    folder = folder_of(out / "out")
    run: Run = build(compose(*small(tuple(given)), *given, f"out={out}/out"))
    finished = run.finished(folder)
    network, x = finished.network().eval(), finished.data.test.x[:20] / 255
    moments = [network.normalize.get_buffer(name).view(-1, 1, 1) for name in ("mean", "std")]
    exports = {path: export(folder, path) for path in (out / "it's.safetensors", out / "hub")}
    printed = {path: said.splitlines() for path, said in exports.items()}
    with torch.no_grad():
        return Trained(request.param, folder, x, network(x), moments, printed)


def folder_of(out: Path) -> Path:
    (path,) = (path for path in out.rglob("record.json") if "results" not in path.parts)
    return path.parent


@torch.no_grad()
def test_a_run_and_its_exports_load_as_the_network_that_was_measured(trained: Trained) -> None:
    draws = torch.get_rng_state()
    for where in (trained.folder, str(trained.folder), *trained.lines):
        network = vicinal.load(where)
        assert torch.equal(network(trained.x), trained.logits), where
        assert not any(module.training for module in network.modules())
    assert torch.equal(torch.get_rng_state(), draws)


@torch.no_grad()
def test_the_printed_line_loads_the_network_that_was_measured(trained: Trained) -> None:
    """Every line on its own, timm's on images that are normalised as it says."""
    mean, std = trained.moments
    for lines in trained.lines.values():
        ours, *theirs = lines
        assert torch.equal(made_by(ours)(trained.x), trained.logits)
        assert len(theirs) == (trained.case in OF_TIMM)
        for line in theirs:
            found = made_by(line)((trained.x - mean) / std)
            torch.testing.assert_close(found, trained.logits, rtol=1e-4, atol=1e-5)
            shown = str(tuple(round(value, 6) for value in mean.flatten().tolist()))
            assert shown in line.partition("#")[2]


def made_by(line: str) -> nn.Module:
    """What a line of Python calls `network`, in a namespace of its own."""
    names: dict[str, Any] = {}
    exec(line, names)
    return names["network"]


def test_networks_of_grey_images_load_too(tmp_path: Path) -> None:
    x, y = torch.randint(256, (12, 1, 32, 32), dtype=torch.uint8).numpy(), np.arange(12) % 3
    arrays = tmp_path / "grey.npz"
    np.savez(arrays, x_train=x, y_train=y, x_test=x, y_test=y)
    given = "dataset=npz", f"dataset.arrays={arrays}", "schedule.epochs=1"
    execute(tmp_path / "out", *given, "model=timm", "model.name=test_efficientnet")
    for out in (tmp_path / "a.safetensors", tmp_path / "hub"):
        for line in export(folder_of(tmp_path / "out"), out).splitlines():
            assert made_by(line)(torch.zeros(1, 1, 32, 32)).shape == (1, 3)


def test_a_detector_is_exported_and_loaded(tmp_path: Path) -> None:
    folder, lines = drawn_set(tmp_path / "drawn"), (*DRAWN, "schedule.epochs=0")
    given = "dataset=detection", f"dataset.root={folder}", "model=mask_rcnn"
    execute(tmp_path / "out", *given, *lines)
    run_folder, out = folder_of(tmp_path / "out"), tmp_path / "hub"
    (line,) = export(run_folder, out).splitlines()
    network = made_by(line)
    kept = weights.read(run_folder, read_record(run_folder) or {}, "last")
    state = network.state_dict()
    assert state.keys() == kept.keys()
    assert all(torch.equal(value, state[name]) for name, value in kept.items())
    (found,) = network(torch.zeros(1, 3, 64, 64))
    assert found.boxes.shape[1] == 4


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=says("network.pt ... .safetensors ... folder")):
        export(tmp_path, tmp_path / "network.pt")
    with pytest.raises(RunError, match=says(f"{tmp_path} ... finished")):
        export(tmp_path, tmp_path / "network.safetensors")
    with pytest.raises(RunError, match=says(f"{tmp_path} ... finished")):
        export(tmp_path, tmp_path / "hub")
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
