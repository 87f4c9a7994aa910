"""A finished run that tests of exports share."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from composing import compose
from whole_runs import SMALL

from vicinal.cli.configs import build, resolved
from vicinal.run import Run
from vicinal.storage import records


@dataclass(frozen=True)
class Finished:
    """Its folder, and what its record says."""

    folder: Path
    record: dict[str, Any]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Of a network of timm, measured once more."""
    out = tmp_path_factory.mktemp("finished")
    choices = {"model": "timm", "method": "maxup_cutmix"}
    lines = "method=maxup_cutmix model=timm model.name=test_resnet dataset.size=32".split()
    lines += ["evaluation=clean", "seed=3", f"out={out}", f"results={out}/results"]
    config = compose(*SMALL, *lines)
    run: Run = build(config)
    tree = resolved(config)
    run.execute(tree, choices)
    folder = out / records.name(tree, "digits", choices) / "seed3"
    return Finished(folder, json.loads((folder / "record.json").read_text()))
