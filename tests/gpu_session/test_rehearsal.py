"""A small GPU session on a CPU, with a run that an earlier session left unfinished."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from gpu_session.processes import ROOT, environment
from wording import says

pytestmark = pytest.mark.slow  # many processes; the other tests here have their parts
NETWORK = "wrn10_2"
SCRIPT = ROOT / "scripts" / "gpu.py"


def gpu(out: Path, *words: str) -> str:
    command = [sys.executable, str(SCRIPT), "--rehearse", "--out", str(out), *words]
    command += ["--budget", "3000"]  # for a busy machine
    variables = environment(out) | {"HOME": "/nowhere"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    return done.stdout


def begin(out: Path) -> Path:
    """Stop the first of the plan's runs within its last epoch; its folder."""
    job = json.loads((out / "plan.json").read_text())["runs"][0]
    folder = out / "runs" / job["name"] / "seed0"
    line = [*job["line"], "runtime=cpu", "runtime.threads=1", "runtime.checkpoint_seconds=0"]
    train = subprocess.Popen([sys.executable, str(ROOT / "train.py"), *line], env=environment(out))
    deadline = monotonic() + 120
    while not any(folder.glob("checkpoints/epoch00001-*")) and monotonic() < deadline:
        sleep(0.005)
    train.send_signal(signal.SIGTERM)
    assert train.wait() == 75
    assert not (folder / "record.json").exists()
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gpu")
    gpu(out, "--parts", "machine", "steps", "--only", "gradaug", "erm", "--workers", "1")
    begin(out)
    said = gpu(out, "--parts", "pace", "sweep", "runs", "carry", "--only", NETWORK)
    assert said.endswith(f"{(out / 'summary.md').read_text()}\n")
    return out


def results(out: Path, part: str) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in (out / part).glob("*.json")}


def test_all_that_was_asked_for_went_well(out: Path) -> None:
    notes = json.loads((out / "parts.json").read_text())
    assert {name: note["state"] for name, note in notes.items()} == dict.fromkeys(
        ("machine", "steps", "pace", "sweep", "runs", "carry"), "ended"
    )
    for part in ("steps", "pace"):
        rows = results(out, part)
        assert rows
        assert not {item: row["error"] for item, row in rows.items() if "error" in row}
    assert {item.partition(".")[0] for item in results(out, "steps")} == {
        "method=erm",
        "method=gradaug",
    }


def test_a_form_that_is_fast_was_timed_with_its_epochs(out: Path) -> None:
    rows = results(out, "pace")
    forms = ("fp32", "bf16", "channels_last", "compiled")
    fastest = max(forms, key=lambda form: rows[f"{NETWORK}.{form}"]["images_per_second"])
    assert rows[f"{NETWORK}.epochs-{fastest}"]["train_seconds"] > 0
    assert all(len(rows[f"{NETWORK}.{form}"]["windows"]) == 2 for form in (*forms, "bare"))
    assert "measured" in rows[f"{NETWORK}.bare"]["floors"]


def test_a_run_that_was_begun_goes_on_and_is_the_tables(out: Path) -> None:
    rows = json.loads((out / "runs.json").read_text())
    assert {row["state"] for row in rows.values()} == {"finished"}
    first = next(iter(json.loads((out / "plan.json").read_text())["runs"]))
    record = json.loads((out / "runs" / first["name"] / "seed0" / "record.json").read_text())
    assert [session["from_step"] > 0 for session in record["sessions"]] == [False, True]
    assert record["name"] == first["name"]
    published = out / "results" / "runs" / f"{first['name']}-seed0.json"
    assert json.loads(published.read_text()) == record
    assert record["config"]["reduced"]  # a rehearsal's


def test_records_and_curves_are_carried_and_no_caches(out: Path) -> None:
    lines = (out / "carry.txt").read_text().splitlines()
    assert all((out / line).is_file() for line in lines)
    assert {line.partition("/")[0] for line in lines}.isdisjoint({"cache", "data"})
    assert sum(line.endswith("history.jsonl") for line in lines) == 2
    assert sum(line.startswith("results/runs/") for line in lines) == 2


def test_unknown_parts_are_named(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--parts", "lunch", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(tmp_path)
    )
    assert done.returncode == 2
    assert re.search(says("lunch ... machine, steps, tests, pace"), done.stderr)
    assert not list(tmp_path.iterdir())
