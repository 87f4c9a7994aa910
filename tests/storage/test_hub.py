"""A folder for the Hugging Face Hub says what it holds, and loads from where it lies."""

import json
import os
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from whole_runs import execute
from wording import says

import vicinal
from vicinal.errors import RunError
from vicinal.storage.card import in_words
from vicinal.storage.export import export


@pytest.fixture(scope="module")
def hub(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "mine"
    export(finished.folder, folder, "best_test")
    return folder


def header(card: str) -> dict[str, Any]:
    """A card's YAML."""
    _, found, _ = card.split("---\n", 2)
    return yaml.safe_load(found)


def tables(card: str) -> list[list[str]]:
    """The rows of a card's tables, cell by cell."""
    lines = [line for line in card.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_card_says_what_was_trained_how_and_with_which_result(hub: Path, finished: Any) -> None:
    card, record = (hub / "README.md").read_text(), finished.record
    assert says_all(card, "timm-test_resnet trained on digits with maxup_cutmix")
    epoch = record["weights"]["best_test"]["epoch"]
    assert says_all(card, f"after epoch {epoch} of 2", "seed 3", record["name"], "MIT licence")
    rows = tables(card)
    named = dict(row for row in rows if len(row) == 2)
    assert named["method"] == "MaxUp (copies 4, vicinity CutMix (alpha 1.0, prob 1.0))"
    assert says_all(named["optimizer"], "Sgd", "lr 0.1", "momentum 0.9", "weight decay 0.0001")
    assert says_all(named["data"], "60 train", "360 test")
    commit = record["sessions"][-1]["git"]["commit"] if record["sessions"][-1]["git"] else "unknown"
    assert says_all(named["commit"], commit)
    assert says_all(named["versions"], f"torch {torch.__version__}")
    (head,) = (row for row in rows if row[0] == "report")
    for report, numbers in record["metrics"].items():
        (row,) = (row for row in rows if row[0] == report)
        shown = dict(zip(head, row, strict=True))
        assert {name: shown[name] for name in head[2:]} == {
            name: f"{numbers[name]:.4g}" for name in head[2:]
        }
    assert says_all(card, "MaxUp", "arxiv.org/abs/2002.09024", "arxiv.org/abs/1905.04899")


def says_all(text: str, *parts: str) -> bool:
    return all(re.search(says(part), text) for part in parts)


def test_the_header_is_one_that_the_hub_reads(hub: Path, finished: Any) -> None:
    found = header((hub / "README.md").read_text())
    assert found["library_name"] == "timm"
    assert found["pipeline_tag"] == "image-classification"
    assert {"vicinal", "timm", "maxup_cutmix"} <= {*found["tags"]}
    assert found["metrics"] == ["accuracy"]
    (result,) = found["model-index"][0]["results"]
    (metric,) = result["metrics"]
    assert result["dataset"]["name"] == "digits"
    assert metric["value"] == pytest.approx(
        finished.record["metrics"]["best_test"]["top1"], abs=1e-4
    )
    hub_card = pytest.importorskip("huggingface_hub").ModelCardData(**found)
    assert hub_card.eval_results[0].metric_type == "accuracy"


def test_evaluations_of_these_weights_are_shown(finished: Any, tmp_path: Path) -> None:
    export(finished.folder, tmp_path / "hub")
    rows = tables((tmp_path / "hub" / "README.md").read_text())
    (entry,) = finished.record["evaluations"].values()
    shown = {number: value for name, number, value in (r for r in rows if len(r) == 3)}
    assert shown["test_top1"] == f"{entry['metrics']['test_top1']:.4g}"


def test_the_lines_in_the_card_load_the_network_where_the_folder_lies(
    hub: Path, finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(hub, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    card = (hub / "README.md").read_text()
    ours, theirs = card.partition("```python\n")[2].partition("\n```")[0].splitlines()
    x = torch.rand(2, 3, 32, 32)
    expected = vicinal.load(finished.folder, "best_test")
    mean, std = (getattr(expected.normalize, name).view(-1, 1, 1) for name in ("mean", "std"))
    for line, images in ((ours, x), (theirs, (x - mean) / std)):
        names: dict[str, Any] = {}
        exec(line, names)
        torch.testing.assert_close(names["network"](images), expected(x))


def test_timm_is_told_what_the_network_takes(hub: Path) -> None:
    found = json.loads((hub / "config.json").read_text())
    assert found["architecture"] == "test_resnet"
    assert found["model_args"] == {"in_chans": 3}
    assert found["num_classes"] == found["pretrained_cfg"]["num_classes"] == 10
    assert found["pretrained_cfg"]["input_size"] == [3, 32, 32]
    assert found["vicinal"]["report"] == "best_test"


def test_networks_that_timm_cannot_load_are_not_offered_to_it(tmp_path: Path) -> None:
    """ShakeDrop scales timm's branches: other logits from the same tensors."""
    lines = "method=shakedrop model=timm model.name=test_resnet dataset.size=32".split()
    execute(tmp_path / "out", *lines, "schedule.epochs=1")
    (record,) = (path for path in tmp_path.rglob("record.json"))
    hub = tmp_path / "hub"
    assert "import timm" not in export(record.parent, hub)
    assert "architecture" not in json.loads((hub / "config.json").read_text())
    card = (hub / "README.md").read_text()
    assert header(card)["library_name"] == "vicinal"
    assert "method changed the network" in card


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_exports_have_the_permissions_of_other_new_files(
    mask: int, mode: int, finished: Any, tmp_path: Path
) -> None:
    before = os.umask(mask)
    try:
        for out in ("a.safetensors", "hub"):
            export(finished.folder, tmp_path / out)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}


def test_a_run_is_not_written_over(finished: Any) -> None:
    with pytest.raises(RunError, match=says(f"^{finished.folder} ... folder of a run")):
        export(finished.folder, finished.folder)


def test_a_config_in_words_leaves_out_what_is_null() -> None:
    inner = {"_target_": "a.Cosine", "per": "step"}
    node = {"_target_": "b.Schedule", "warmup_epochs": 5, "curve": inner, "clip": None, "on": True}
    assert in_words(node) == "Schedule (warmup epochs 5, curve Cosine (per step), on true)"
    assert in_words({"_target_": "a.Identity"}) == "Identity"
    assert in_words({"_target_": "a.Step", "milestones": [0.5, 1]}) == "Step (milestones [0.5, 1])"
