"""What cannot be loaded is said in one line, and nothing is imported before it is needed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import save_file
from wording import says

import vicinal
from vicinal.errors import RunError
from vicinal.storage import loading
from vicinal.storage.export import export
from vicinal.storage.weights import REPORTS


def test_the_package_offers_load_without_importing_torch() -> None:
    lines = [
        "import sys, vicinal",
        "assert 'load' in dir(vicinal)",
        "assert vicinal.__all__ == ['load']",
        "assert 'torch' not in sys.modules",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
    assert vicinal.load is loading.load
    with pytest.raises(AttributeError, match=says("vicinal ... lode")):
        _ = vicinal.lode  # pyright: ignore[reportAttributeAccessIssue]


def test_each_report_has_weights_of_its_own(finished: Any, tmp_path: Path) -> None:
    epochs = {report: finished.record["weights"][report]["epoch"] for report in REPORTS}
    for report in REPORTS:
        found = vicinal.load(finished.folder, report).state_dict()
        last = vicinal.load(finished.folder).state_dict()
        same = all(value.equal(last[name]) for name, value in found.items())
        assert same == (epochs[report] == epochs["last"])
    export(finished.folder, tmp_path / "a.safetensors", "best_valid")
    vicinal.load(tmp_path / "a.safetensors", "best_valid")
    with pytest.raises(RunError, match=says("a.safetensors ... best_valid ... last")):
        vicinal.load(tmp_path / "a.safetensors", "last")


@pytest.fixture
def copied(finished: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.folder, tmp_path / "copy"))


def test_a_run_that_is_not_finished_or_damaged_is_named(copied: Path, tmp_path: Path) -> None:
    for where in (tmp_path, tmp_path / "nothing", tmp_path / "no.safetensors", copied / "weights"):
        with pytest.raises(RunError, match=says(f"^{where} ... finished run")):
            vicinal.load(where)
    with pytest.raises(RunError, match=says("median10 ... best_valid, last")):
        vicinal.load(copied, "median10")
    file = copied / "weights" / "last.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"0000")
    with pytest.raises(RunError, match=says(f"^{file} is damaged ... checksum")):
        vicinal.load(copied)
    (copied / "record.json").write_text("{")
    with pytest.raises(RunError, match=says("record.json is damaged ... JSON")):
        vicinal.load(copied)


def test_a_file_that_is_not_an_export_is_named(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=says("last.safetensors ... export ... model, method")):
        vicinal.load(copied / "weights" / "last.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((copied / "weights" / "last.safetensors").read_bytes()[:100])
    with pytest.raises(RunError, match=says(f"^{cut} is damaged")):
        vicinal.load(cut)


@pytest.mark.parametrize(
    ("part", "settings", "message"),
    [
        ("method", {"_target_": "absent.Focal"}, "method._target_=absent.Focal ... 'absent'"),
        ("method", {"copies": 0}, "method.copies ... 1 ... 0"),
        ("model", {"depth": 3}, "model.depth ... vicinal.models.timm.Timm"),
        ("model", {"name": "test_resnet9"}, "model.name ... test_resnet9"),
        ("model", {"name": "test_vit"}, "weights ... another ... body.network"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(
    part: str, settings: dict[str, Any], message: str, copied: Path
) -> None:
    path = copied / "record.json"
    record = json.loads(path.read_text())
    record["config"][part] |= settings
    path.write_text(json.dumps(record))
    with pytest.raises(RunError, match=says(f"{copied} ... {message}")) as error:
        vicinal.load(copied)
    assert "\n" not in str(error.value)


def test_an_export_whose_weights_are_not_all_there_is_refused(
    finished: Any, tmp_path: Path
) -> None:
    export(finished.folder, tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        words = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del tensors["fc.weight"]
    save_file(tensors, tmp_path / "b.safetensors", words)
    with pytest.raises(RunError, match=says("b.safetensors ... Missing ... fc.weight")):
        vicinal.load(tmp_path / "b.safetensors")
