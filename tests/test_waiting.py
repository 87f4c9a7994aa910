"""What users wait for: how much is composed, read and imported, and what the bench measures."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benches import waiting

from vicinal.storage import records

RESULTS = Path(__file__).parents[1] / "results"
SLOW = ("scipy.stats", "sklearn", "timm", "torchvision", "wandb", "torch._dynamo", "matplotlib")
PLAN = f"""
import json, sys
from collections import Counter
from pathlib import Path
import hydra
import vicinal.commands.tables, vicinal.commands.report, vicinal.tables.sweep
composed, read = [], Counter()
compose, open_file = hydra.compose, Path.open
def counted(*arguments, **more):
    composed.append(arguments)
    return compose(*arguments, **more)
hydra.compose = counted
def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".yaml"):
        read[str(arguments[0])] += 1
sys.addaudithook(note)
from vicinal.tables import table
from vicinal.tables.plan import plan_run
runs = [run for each in table.load_all() for cell in each.cells if cell.overrides
        for run in cell.runs]
names = {{plan_run(run).name for run in runs}}
found = {{"names": len(names), "composed": len(composed), "most": read.most_common(3)}}
print(json.dumps(found | {{"slow": [name for name in {SLOW} if name in sys.modules]}}))
"""


@pytest.fixture(scope="module")
def planned() -> dict[str, Any]:
    """What planning every run of every table takes, in a process of its own."""
    command = [sys.executable, "-c", PLAN]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_hydra_composes_a_whole_config_four_times_for_all_tables(planned: dict[str, Any]) -> None:
    """The default one, and one for each data set with networks and methods of its own."""
    assert planned["names"] > 600
    assert planned["composed"] <= 4


def test_a_file_of_an_option_is_read_once(planned: dict[str, Any]) -> None:
    """And again for each whole config."""
    assert all(times <= 5 for _, times in planned["most"]), planned["most"]


def test_naming_all_runs_imports_nothing_slow_but_torch(planned: dict[str, Any]) -> None:
    assert planned["slow"] == []


def test_a_run_imports_what_it_needs() -> None:
    lines = f"import sys, vicinal.run; print([name for name in {SLOW} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_copied_records_are_read_as_runs_of_other_seeds(tmp_path: Path) -> None:
    of_text = RESULTS / "runs" / "ptb"
    found = records.load(of_text)
    count = waiting.copied(of_text, tmp_path / "runs", 3 * len(found) - 1)
    copies = records.load(tmp_path / "runs")
    assert count == len(copies) == 3 * len(found)
    assert len({(each["name"], each["seed"]) for each in copies}) == count
    assert {each["name"] for each in copies} == {each["name"] for each in found}
    assert all(each["config"]["seed"] == each["seed"] for each in copies)
