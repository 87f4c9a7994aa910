"""Cells of two runs: adversarial examples are made on the network of one, and scored on another."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from table_samples import record
from wording import says

from vicinal.storage import records
from vicinal.storage.evaluations import key
from vicinal.tables.outcome import Outcome
from vicinal.tables.plan import compose_cached, plan_evaluation, plan_run, plan_source
from vicinal.tables.request import parse_request
from vicinal.tables.results import RecordIndex
from vicinal.tables.sweep import Sweep
from vicinal.tables.table import Table, load

TABLE = Table(
    "paper/transferred",
    {
        "caption": "Test error",
        "run": ["dataset=digits", "model=wrn10_2"],
        "seeds": [0, 1, 2],
        "stub": ["Method"],
        "evaluation": "black_box",
        "source": ["method=erm"],
        "beside": ["attacked"],
        "columns": [{"label": "FGSM", "part": "fgsm"}],
        "rows": [
            {"label": "ERM", "run": ["method=erm"], "printed": ["57.0"]},
            {"label": "mixup", "run": ["method=mixup", "optimizer.lr=0.2"], "printed": ["46.0"]},
        ],
    },
)
ERM, MIXUP = TABLE.cells


def test_the_source_is_the_tables_run_with_its_own_overrides_instead_of_the_rows() -> None:
    assert set(MIXUP.source) == {"dataset=digits", "model=wrn10_2", "method=erm"}
    assert MIXUP.source == ERM.source
    (cell, *_) = load("mixup/table3b").cells
    assert plan_run(cell.source).name == plan_run(cell.overrides).name


def test_no_run_is_attacked_with_its_own_examples() -> None:
    name = plan_run(ERM.source).name
    assert [plan_source(ERM.source, seed) for seed in (0, 1, 2)] == [
        f"{name}/seed1",
        f"{name}/seed0",
        f"{name}/seed0",
    ]


def sweep(folder: Path, *typed: str) -> Sweep:
    places = (f"out={folder}/runs", f"results={folder}/results")
    return Sweep([TABLE], parse_request([*places, *typed]), compose_cached)


def test_a_plan_has_the_sources_and_measures_once_they_are_there(tmp_path: Path) -> None:
    plan = sweep(tmp_path, "seed=0,2")
    erm, mixup = (plan_run(cell.overrides).name for cell in (ERM, MIXUP))
    assert {job.place for job in plan.jobs} == {
        (erm, 0),
        (erm, 1),
        (erm, 2),
        (mixup, 0),
        (mixup, 2),
    }
    first, then = plan.stages()
    assert {job.place for job, _ in first} == {job.place for job in plan.jobs}
    for _, overrides in first:
        assert "evaluation=[black_box,attacked]" not in overrides
    assert {job.place for job, _ in then} == {(erm, 0), (erm, 2), (mixup, 0), (mixup, 2)}
    for job, overrides in then:
        assert "evaluation=[black_box,attacked]" in overrides
        other = 1 if job.seed == 0 else 0
        assert f"evaluation.black_box.source={erm}/seed{other}" in overrides
    beside = {job.place: "evaluation=[attacked]" in overrides for job, overrides in first}
    assert beside == {place: place != (erm, 1) for place in beside}


def test_a_run_that_failed_is_not_measured(tmp_path: Path) -> None:
    plan = sweep(tmp_path, "seed=2")
    stages = plan.stages()
    for job, overrides in next(stages):
        if "mixup" in job.run.name:
            plan.record_failure(job, overrides, ValueError("it diverged"))
    assert [job.run.name for job, _ in next(stages)] == [plan_run(ERM.overrides).name]


def test_a_reduced_plan_has_a_reduced_source(tmp_path: Path) -> None:
    plan = sweep(tmp_path, "seed=2", "schedule.epochs=3")
    short = plan_run((*ERM.source, "schedule.epochs=3")).name
    (_, then) = plan.stages()
    assert {job.place for job in plan.jobs} >= {(short, 0)}
    for _, overrides in then:
        assert f"evaluation.black_box.source={short}/seed0" in overrides


def left(folder: Path, found: dict[str, Any]) -> None:
    path = folder / "runs" / found["name"] / f"seed{found['seed']}" / "record.json"
    copy = records.published(str(folder / "results"), found["name"], found["seed"])
    for each in (path, copy):
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_text(json.dumps(found | {"sessions": [{"device": {"type": "cpu"}}]}))


def test_what_is_trained_is_only_measured(tmp_path: Path) -> None:
    for seed in (0, 1):
        left(tmp_path, record(ERM.overrides, seed, 50.0, evaluations={}))
    plan = sweep(tmp_path, "seed=0", "+only=ERM")
    assert {job.place[1]: job.state for job in plan.jobs} == {0: "trained", 1: "finished"}
    first, then = plan.stages()
    assert [job.seed for job, _ in first] == [0]  # for what is beside
    assert [job.seed for job, _ in then] == [0]


def entry(source: str, error: float) -> dict[str, Any]:
    config = plan_evaluation("black_box", {}, source)
    metrics = {"fgsm_top1": 100 - error}
    found = {"name": "black_box", "config": config, "report": "last", "metrics": metrics}
    return {key("black_box", "last", config): found}


def outcome(*found: dict[str, Any]) -> Outcome:
    return RecordIndex(found).outcome(MIXUP)


def test_a_number_counts_if_the_examples_are_those_of_the_planned_source() -> None:
    planned = {seed: plan_source(MIXUP.source, seed) for seed in (0, 1, 2)}
    runs = [
        record(MIXUP.overrides, seed, 50.0, evaluations=entry(source, 40.0 + seed))
        for seed, source in planned.items()
    ]
    found = outcome(*runs)
    assert (found.reduced, found.values) == ((), pytest.approx({0: 40.0, 1: 41.0, 2: 42.0}))
    other = record(MIXUP.overrides, 1, 50.0, evaluations=entry("elsewhere/seed0", 9.0))
    assert outcome(other).reduced == ("evaluation.black_box.source=elsewhere/seed0",)
    both = other["evaluations"] | entry(planned[1], 41.0)
    assert outcome(other | {"evaluations": both}).values == pytest.approx({1: 41.0})


def test_a_reduced_number_counts_beside_the_reduced_source() -> None:
    short = (*MIXUP.overrides, "schedule.epochs=3")
    source = plan_source((*MIXUP.source, "schedule.epochs=3"), 1)
    found = outcome(record(short, 1, 50.0, evaluations=entry(source, 44.0)))
    assert (found.reduced, found.values) == (("schedule.epochs=3",), pytest.approx({1: 44.0}))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"evaluation": None}, "source ... evaluation"),
        ({"evaluation": None, "source": []}, "beside ... evaluation"),
        ({"beside": ["yardstik"]}, "beside ... attacked ... yardstik"),
    ],
)
def test_a_cell_that_makes_no_sense_is_refused(changed: dict[str, Any], told: str) -> None:
    columns = [{"label": "FGSM"}]
    with pytest.raises(ValueError, match=says(told)):
        Table("paper/wrong", TABLE.tree | {"columns": columns} | changed)


def test_an_evaluation_may_copy_from_its_run(tmp_path: Path) -> None:
    """A certificate is for the noise that the network was trained with."""
    cell = replace(MIXUP, source=(), beside=(), evaluation="certified", part="0.25")
    assert plan_evaluation(cell.evaluation or "", {"method": {"vicinity": {"sigma": 0.5}}})
