"""Runs of no epochs: recorded as they begin, and measured like all others."""

import json
from pathlib import Path

import pytest
import torch
from composing import compose
from safetensors.torch import load_file
from whole_runs import KilledError, execute, small

from vicinal.cli import configs
from vicinal.cli.configs import build
from vicinal.run import Run
from vicinal.storage.run_folder import RunFolder
from vicinal.tables.costs import Costs
from vicinal.tables.runs import by_run
from vicinal.training.attempt import Attempt

NONE = "schedule.epochs=0"


def test_the_network_is_recorded_and_measured_as_it_begins(tmp_path: Path) -> None:
    record = execute(tmp_path, NONE, "method=augmax", "evaluation=clean", "reports=[best_test]")
    run: Run = build(compose(*small(()), NONE, "method=augmax"))
    data = run.dataset.load()
    network = run.build(data)
    measured = {key: float(f"{value:.6g}") for key, value in run.measure(network, data).items()}
    assert record["curves"] == {"epoch": [0.0], **{key: [v] for key, v in measured.items()}}
    last = record["metrics"]["last"]
    assert record["metrics"]["median10"] == last
    for report in ("best_test", "best_valid"):
        assert record["metrics"][report] == last | {"epoch": 0}
    kept = load_file(tmp_path / record["name"] / "seed0" / "weights" / "last.safetensors")
    for key, value in network.state_dict().items():
        assert torch.equal(kept[key], value), key
    assert record["timing"] == {"seconds": 0.0}
    (entry,) = record["evaluations"].values()
    assert (entry["report"], entry["epoch"]) == ("best_test", 0)
    assert entry["metrics"]["test_top1"] == pytest.approx(last["top1"])


def test_it_is_done_once_however_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "keep_weights", die)
        with pytest.raises(KilledError):
            execute(tmp_path, NONE)
    record = execute(tmp_path, NONE)
    assert record["curves"]["epoch"] == [0.0]
    (history,) = tmp_path.rglob("history.jsonl")
    assert len(history.read_text().splitlines()) == 1
    monkeypatch.setattr(Attempt, "_train", None)
    assert execute(tmp_path, NONE) == record


def test_it_may_begin_with_the_weights_of_a_trained_run(tmp_path: Path) -> None:
    trained = execute(tmp_path)
    start = "init=run", f"init.name={trained['name']}"
    where = f"out={tmp_path}", f"results={tmp_path}/results"
    config = configs.compose(*small(()), NONE, *start, *where)
    run: Run = configs.build(config)
    run.execute(configs.resolved(config), {"model": "wrn10_2", "method": "begun"})
    (path,) = tmp_path.glob("results/runs/digits/wrn10_2/begun/*.json")
    record = json.loads(path.read_text())
    assert record["metrics"]["last"] == pytest.approx(trained["metrics"]["last"])
    assert record["metrics"]["last"] != execute(tmp_path, NONE)["metrics"]["last"]


@pytest.mark.parametrize("method", ["fat", "mean_teacher", "erm"])
def test_settings_of_a_schedule_do_not_matter(method: str, tmp_path: Path) -> None:
    lines = "schedule=cosine", "schedule.warmup_epochs=5", "optimizer.mean_from=0.5"
    record = execute(tmp_path, NONE, f"method={method}", *lines)
    assert record["curves"]["epoch"] == [0.0]


def test_tables_and_costs_of_runs_take_it_as_it_is(tmp_path: Path) -> None:
    record = execute(tmp_path, NONE)
    assert "| 0 | 1 |" in by_run([record])
    record["sessions"][-1]["device"]["type"] = "cuda"
    known = Costs.known([record], tmp_path)
    assert (known.epochs, known.scales) == ({}, {})
    cost = known.of(record["name"], record["config"])
    assert cost is None or cost.hours == 0
