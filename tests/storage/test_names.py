"""Runs of timm's networks are named after the network."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from composing import compose
from omegaconf import DictConfig, OmegaConf
from wording import says

from vicinal.cli.configs import build, resolved
from vicinal.errors import RunError
from vicinal.run import Run
from vicinal.storage import records
from vicinal.storage.names import check_moved

CHOICES = {"model": "timm", "method": "erm"}


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("resnet50", "timm-resnet50"),
        ("resnet50.a1_in1k", "timm-resnet50.a1_in1k"),
        ("hf-hub:me/mine", "timm-hf-hub-me-mine"),
    ],
)
def test_networks_of_timm_have_names_of_their_own(network: str, name: str) -> None:
    tree = resolved(compose("dataset=digits", "model=timm", f"model.name='{network}'"))
    found = records.name(tree, "digits", CHOICES)
    assert found == f"digits/{name}/erm/{records.identity(tree, 'digits')}"
    ours = records.name(tree, "digits", CHOICES | {"model": "wrn10_2"})
    assert ours.split("/")[1] == "wrn10_2"


def test_the_record_and_the_folder_have_that_name(finished: Any) -> None:
    dataset, network, method, identity = finished.folder.parts[-5:-1]
    assert network == "timm-test_resnet"
    assert finished.record["name"] == f"{dataset}/{network}/{method}/{identity}"


@pytest.fixture
def earlier(finished: Any, tmp_path: Path) -> Path:
    """The folder of a run under the name that earlier versions gave it."""
    network, method, identity, seed = finished.folder.parts[-4:]
    assert network == "timm-test_resnet"
    folder = tmp_path / "digits" / "timm" / method / identity
    shutil.copytree(finished.folder, folder / seed)
    record = finished.record | {"name": f"digits/timm/{method}/{identity}"}
    (folder / seed / "record.json").write_text(json.dumps(record))
    return folder


def test_a_run_of_earlier_versions_is_not_trained_again(
    earlier: Path, finished: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed command moves it, and then it is finished and has the name of today."""
    out = earlier.parents[3]
    tree = finished.record["config"] | {"out": str(out), "results": str(out / "results")}
    config = OmegaConf.create(tree)
    assert isinstance(config, DictConfig)
    run: Run = build(config)
    choices = finished.record["choices"]
    with pytest.raises(RunError, match=says(f"{earlier} ... earlier versions")) as error:
        run.execute(tree, choices)
    subprocess.run(str(error.value).partition("move it: ")[2], shell=True, check=True)
    run.execute(tree, choices)
    assert "finished already" in capsys.readouterr().out
    (record,) = records.load(out / "results")
    assert record["name"] == finished.record["name"]
    assert record["metrics"] == finished.record["metrics"]


def test_records_of_earlier_versions_have_todays_name(earlier: Path, finished: Any) -> None:
    found = records.read(earlier / "seed3" / "record.json")
    assert found == finished.record
    check_moved(earlier.parents[3], "digits/wrn10_2/erm/123")  # nothing to say of other networks
