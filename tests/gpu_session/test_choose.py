"""What follows from the measurements, and what is copied."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_session import carry, halve, summary
from gpu_session.choose import Concurrency, Measured
from gpu_session.forms import FORMS
from safetensors.torch import load_file, save_file

JOB = {
    "name": "cifar100/net/mixup/id",
    **{"epochs": 200, "images": 50_000, "tested": 10_000, "over_erm": 1.1},
}


def measured(**parts: dict[str, Any]) -> Measured:
    return Measured(**({key: {} for key in ("steps", "pace", "concurrency", "runs")} | parts))


def pace(**rates: float) -> dict[str, Any]:
    return {f"net.{form}": {"images_per_second": rate} for form, rate in rates.items()}


def test_the_fastest_form_is_one_whose_steps_lose_what_fp32_loses() -> None:
    rates = pace(bare=9e9, fp32=10.0, bf16=20.0, compiled=40.0, graphs=50.0)
    assert measured(pace=rates).fastest("net") == "graphs"
    steps = {
        "network=net.fp32": {"losses": [4.6]},
        "network=net.bf16": {"losses": [4.61]},
        "network=net.graphs": {"losses": [5.0]},
        "network=net.compiled": {"error": "RuntimeError: no"},
    }
    assert measured(pace=rates, steps=steps).fastest("net") == "bf16"
    steps["network=net.compiled"] |= {"late": True}  # which says nothing of what it computes
    assert measured(pace=rates, steps=steps).fastest("net") == "compiled"
    assert measured().fastest("net") in FORMS


def test_as_many_run_at_once_as_end_the_most_runs() -> None:
    rows = {
        "plain": {"1": {"images_per_second": 100.0}, "2": {"images_per_second": 150.0}},
        "mps": {"1": {"images_per_second": 99.0}, "4": {"images_per_second": 180.0}},
    }
    true = {"train_seconds": 1.0, "evaluate_seconds": 0.1, "first_seconds": 0.0}
    known = measured(concurrency=rows, pace=pace(compiled=1e9) | {"net.epochs-compiled": true})
    # A run takes 240 s alone, 320 s as one of two, 533 s as one of four.
    assert known.together(JOB, 100) == Concurrency()
    assert known.together(JOB, 300) == Concurrency()
    assert known.together(JOB, 340) == Concurrency(2, False, 1.5)
    assert known.together(JOB, 560) == Concurrency(4, True, 1.8)
    assert measured(concurrency={"plain": {"error": "hung"}}).together(JOB, 1e9) == Concurrency()


def test_a_runs_length_follows_from_the_best_that_is_known_of_it() -> None:
    def seconds(together: Concurrency, **parts: dict[str, Any]) -> float | None:
        return measured(**parts).seconds(JOB, together, 200)

    assert seconds(Concurrency()) is None
    rates = pace(compiled=50_000.0)
    rough = seconds(Concurrency(), pace=rates)
    assert rough == pytest.approx(60 + 200 * (1.1 + 1 / 15))
    true = {"train_seconds": 1.2, "evaluate_seconds": 0.1, "first_seconds": 20.0}
    exact = rates | {"net.epochs-compiled": true}
    assert seconds(Concurrency(), pace=exact) == pytest.approx(20 + 200 * (1.1 * 1.2 + 0.1))
    four = seconds(Concurrency(4, gain=2.0), pace=exact)
    assert four == pytest.approx(20 + 2 * 200 * (1.1 * 1.2 + 0.1))
    run = {"name": JOB["name"], "at_once": 1, "seconds_per_epoch": 0.9}
    assert seconds(Concurrency(), pace=exact, runs={"a": run}) == pytest.approx(20 + 180)
    assert seconds(Concurrency(4, gain=2.0), pace=exact, runs={"a": run}) == four


def run(out: Path, name: str, *files: str) -> Path:
    folder = out / "runs" / "cifar100" / "net" / "erm" / name / "seed0"
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
    return folder


def test_what_is_carried_lets_a_begun_run_go_on_and_leaves_the_rest(tmp_path: Path) -> None:
    old, new = (f"checkpoints/epoch0000{k}-step.pt" for k in (1, 2))
    begun = run(tmp_path, "begun", old, new, "history.jsonl", "lock")
    ended = run(tmp_path, "ended", new, "record.json", "history.jsonl", "weights/last.safetensors")
    for name in ("summary.md", "runs.json", "cache/inductor/x", "logs/runs/a.log", "steps/a.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    carry.write(tmp_path)
    lines = (tmp_path / "carry.txt").read_text().splitlines()
    expected = [
        *("runs.json", "summary.md", "logs/runs/a.log", "steps/a.json"),
        *(begun / "history.jsonl", begun / new),
        *(ended / "record.json", ended / "history.jsonl", ended / "weights/last.safetensors"),
    ]
    assert sorted(lines) == sorted(
        str(tmp_path.joinpath(p).relative_to(tmp_path)) for p in expected
    )
    assert len(set(lines)) == len(lines)
    assert f"unfinished: {begun.relative_to(tmp_path)}" in summary.page(tmp_path)


def test_weights_that_are_too_large_are_carried_in_half_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run(tmp_path, "ended", "record.json")
    (folder / "weights").mkdir()
    weights = {"kernel": torch.randn(4, 4, 3, 3), "mean": torch.randn(4), "count": torch.tensor(3)}
    path = folder / "weights" / "best_test.safetensors"
    save_file(weights, path)
    assert not carry.too_large(tmp_path)
    assert path in carry.listed(tmp_path)
    monkeypatch.setattr(carry, "MOST", 100)
    assert carry.too_large(tmp_path)
    monkeypatch.setattr("sys.argv", ["halve", str(tmp_path)])
    halve.main()
    copy = carry.copy_of(path)
    assert copy in carry.listed(tmp_path)
    assert path not in carry.listed(tmp_path)
    found = load_file(copy)
    assert torch.equal(found["kernel"], weights["kernel"].bfloat16())
    assert torch.equal(found["mean"], weights["mean"])
    assert torch.equal(found["count"], weights["count"])


def test_the_summary_shows_what_failed_and_why(tmp_path: Path) -> None:
    rows = {
        "steps/method=mixup.fp32": {"losses": [2.0], "seconds": [1.0, 0.010]},
        "steps/method=mixup.bf16": {"losses": [2.5], "seconds": [1.0, 0.005]},
        "steps/method=mixup.graphs": {"error": "RuntimeError: capture", "tail": "line 12"},
        "pace/net.bare": {"images_per_second": 10.0, "spread": 0.0, "warmup_seconds": 1.0},
        "pace/net.graphs": {"images_per_second": 25.0, "spread": 0.01, "warmup_seconds": 2.0},
        "concurrency/plain": {"1": {"images_per_second": 100.0}, "2": {"images_per_second": 150.0}},
    }
    for name, row in rows.items():
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(row))
    said = {"test": "test_gpu.py::test_a", "outcome": "failed", "seconds": 1, "tail": "E assert"}
    (tmp_path / "tests.jsonl").write_text(f"{json.dumps(said)}\n")
    page = summary.page(tmp_path)
    assert "3 combinations: 1 failed, 1 with another loss than fp32" in page
    assert "| method mixup | 5.0 ≠ 25.0% | 10.0 | **failed** |" in page
    assert "method=mixup.graphs: RuntimeError: capture\n\n```\nline 12" in page
    assert "test_gpu.py::test_a\n\n```\nE assert" in page
    assert "| net | graphs | 25 | 1.0% |  | 2.50 |" in page
    assert "Best: 2 at once, 1.50 times the pace of one" in page
