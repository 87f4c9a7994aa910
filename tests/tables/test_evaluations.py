"""Cells of evaluations: which recorded numbers they are, and how sweeps plan what is missing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from table_samples import record
from wording import says

from vicinal.cli.configs import compose, recorded
from vicinal.errors import RunError
from vicinal.storage import records
from vicinal.storage.evaluations import key
from vicinal.tables.outcome import Outcome
from vicinal.tables.plan import compose_cached, plan_evaluation, plan_run
from vicinal.tables.request import parse_request
from vicinal.tables.results import RecordIndex
from vicinal.tables.sweep import Sweep
from vicinal.tables.table import Table

TABLE = Table(
    "paper/measured",
    {
        "caption": "Test error",
        "run": ["dataset=digits", "model=wrn10_2", "method=erm"],
        "seeds": [0, 1],
        "stub": ["Data"],
        "columns": [
            {"label": "trained", "report": "best_test"},
            {"label": "measured", "evaluation": "clean", "part": "test", "report": "best_test"},
            {"label": "held out", "evaluation": "clean", "part": "valid", "report": "best_test"},
        ],
        "rows": [{"label": "digits", "printed": ["3.8", "3.8", "4.0"]}],
    },
)
TRAINED, MEASURED, HELD_OUT = TABLE.cells
PLANNED = plan_evaluation("clean", {})


def entry(error: float, report: str = "best_test", **changed: Any) -> dict[str, Any]:
    config = PLANNED | changed
    metrics = {"test_top1": 100 - error}
    found = {"name": "clean", "config": config, "report": report, "metrics": metrics}
    return {key("clean", report, config): found}


def run(seed: int, *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    evaluations = {name: each for one in entries for name, each in one.items()}
    return record(MEASURED.overrides, seed, 50.0, evaluations=evaluations, **more)


def outcome(*found: dict[str, Any]) -> Outcome:
    return RecordIndex(found).outcome(MEASURED)


def test_a_number_is_that_of_its_evaluation_on_the_weights_of_its_report() -> None:
    other = entry(9.0, report="last")
    assert outcome(run(0, entry(3.7), other), run(1, other, entry(3.9))).values == pytest.approx(
        {0: 3.7, 1: 3.9}
    )
    assert outcome(run(0, other)).verdict == "not run"
    assert outcome(run(0)).verdict == "not run"
    assert RecordIndex([run(0, entry(3.7))]).outcome(HELD_OUT).verdict == "not run"


def test_other_settings_of_an_evaluation_are_shown_as_reduced_and_never_beside_its_own() -> None:
    found = outcome(run(0, entry(5.0, bins=7)), run(1, entry(5.0, bins=7)))
    assert (found.verdict, found.reduced) == ("reduced", ("evaluation.clean.bins=7",))
    both = outcome(run(0, entry(3.7), entry(5.0, bins=7)), run(1, entry(5.0, bins=7)))
    assert (both.reduced, both.values) == ((), pytest.approx({0: 3.7}))
    assert outcome(run(0, entry(3.7, batch_size=3))).reduced == ()
    most = outcome(run(0, entry(4.0, bins=3), entry(5.0, bins=7)), run(1, entry(5.0, bins=7)))
    assert most.values == pytest.approx({0: 5.0, 1: 5.0})


def test_other_sets_of_an_evaluation_are_named_as_they_are_typed() -> None:
    cell = replace(MEASURED, evaluation="cifar10_c", part=None, measures="robust_accuracy")
    sets = "sets@evaluation.cifar10_c.sets=generated"
    typed = (sets, "evaluation.cifar10_c.sets.corruptions=['fog']")
    config = recorded(compose("evaluation=cifar10_c", *typed))["evaluation"]["cifar10_c"]
    found = {"name": "cifar10_c", "config": config, "report": "best_test"}
    measured = {"x": found | {"metrics": {"robust_accuracy": 40.0}}}
    outcome = RecordIndex([run(0, measured)]).outcome(cell)
    assert (outcome.reduced, outcome.values) == (typed, {0: 40.0})


def test_a_reduced_run_that_was_measured_is_shown_where_the_whole_one_was_not() -> None:
    short = [*MEASURED.overrides, "schedule.epochs=9"]
    measured = record(short, 0, 50.0, evaluations=entry(6.0))
    assert outcome(run(0), measured).reduced == ("schedule.epochs=9",)
    assert outcome(run(0, entry(3.7)), measured).reduced == ()


def planned(folder: Path, *typed: str) -> Sweep:
    places = (f"out={folder}/runs", f"results={folder}/results")
    return Sweep([TABLE], parse_request([*places, *typed]), compose_cached)


def test_a_run_is_planned_once_with_all_that_its_cells_measure(tmp_path: Path) -> None:
    sweep = planned(tmp_path)
    assert [job.seed for job in sweep.jobs] == [0, 1]
    for job in sweep.jobs:
        assert {"evaluation=[clean]", "reports=[best_test]"} <= set(job.overrides)
        assert (job.state, job.evaluations, job.unmeasured) == ("missing", 1, 1)
    assert "2 evaluations of them: 2 missing" in sweep.plan()


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_trained_but_not_measured_is_told_from_the_weights(
    kept: bool, tmp_path: Path
) -> None:
    def leave(found: dict[str, Any]) -> None:
        folder = tmp_path / "runs" / found["name"] / f"seed{found['seed']}"
        copy = records.published(str(tmp_path / "results"), found["name"], found["seed"])
        for path in (folder / "record.json", copy) if kept else (copy,):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found | {"sessions": [{"device": {"type": "cpu"}}]}))

    leave(run(0, entry(3.7)))
    leave(run(1, entry(3.7, report="last")))
    sweep = planned(tmp_path)
    lacking = "trained" if kept else "missing"
    assert [(job.state, job.unmeasured) for job in sweep.jobs] == [("finished", 0), (lacking, 1)]
    assert [job.seed for job in sweep.unfinished] == [1]
    assert f"1 finished, 1 {lacking}" in sweep.plan()


def test_settings_of_an_evaluation_reach_the_runs_that_have_it(tmp_path: Path) -> None:
    (job, _) = planned(tmp_path, "+evaluation.clean.bins=7").jobs
    assert job.overrides.index("evaluation=[clean]") < job.overrides.index(
        "evaluation.clean.bins=7"
    )
    assert not any("reduced" in line for line in job.overrides)
    with pytest.raises(RunError, match=says("^evaluation.other.bins=7 ... clean")):
        planned(tmp_path, "evaluation.other.bins=7")
    with pytest.raises(RunError, match=says("^reports ... reports=[last]")):
        planned(tmp_path, "reports=[last]")
    with pytest.raises(ValueError, match=says("^evaluation.clean.bins ... 0")):
        planned(tmp_path, "evaluation.clean.bins=0")


def test_an_evaluation_of_no_cell_can_be_added_to_every_run(tmp_path: Path) -> None:
    sweep = planned(tmp_path, "evaluation=clean", "+only=trained")
    assert all("evaluation=[clean]" in job.overrides for job in sweep.jobs)
    assert all("reports=[last]" in job.overrides for job in sweep.jobs)


def test_an_evaluation_does_not_rename_its_run() -> None:
    lines = tuple(MEASURED.overrides)
    more = ("evaluation=[clean]", "evaluation.clean.bins=3", "reports=[best_test]")
    assert plan_run(lines).name == plan_run((*lines, *more)).name


BEST_OF = ["optimizer.lr=0.1,0.2", "optimizer.momentum=0.5,0.9"]
ENVELOPE = Table(
    "paper/envelope",
    TABLE.tree
    | {
        "better": "higher",
        "measures": "accuracy",
        "columns": [{"label": "best", "best_of": BEST_OF}],
        "rows": [{"label": "digits", "printed": ["90.0"]}],
    },
)


def test_the_best_of_several_runs_is_taken_seed_by_seed_once_all_are_there(tmp_path: Path) -> None:
    (cell,) = ENVELOPE.cells
    assert [run[-2:] for run in cell.runs] == [
        (f"optimizer.lr={lr}", f"optimizer.momentum={momentum}")
        for lr in ("0.1", "0.2")
        for momentum in ("0.5", "0.9")
    ]
    errors = {0: (12.0, 11.0, 14.0, 13.0), 1: (21.0, 22.0, 24.0, 20.0), 2: (1.0, 2.0)}
    found = [
        record(run, seed, error)
        for seed, of in errors.items()
        for run, error in zip(cell.runs, of, strict=False)
    ]
    outcome = RecordIndex(found).outcome(cell)
    assert outcome.values == pytest.approx({0: 89.0, 1: 80.0})
    assert len(outcome.records) == len(found)
    assert RecordIndex(found[:3]).outcome(cell).verdict == "not run"
    short = [record((*run, "schedule.epochs=9"), 0, 1.0) for run in cell.runs]
    assert RecordIndex(short).outcome(cell).reduced == ("schedule.epochs=9",)
    assert RecordIndex([*found[:3], *short]).outcome(cell).values == {}
    sweep = Sweep([ENVELOPE], parse_request([f"out={tmp_path}", "seed=0,1"]), compose_cached)
    assert len({job.run.name for job in sweep.jobs}) == 4
    assert len(sweep.jobs) == 8


def test_values_that_go_together_are_not_combined_with_each_other() -> None:
    sweeps = ["optimizer.momentum=0.5,0.9", "method.copies=1,2 schedule.batch_size=8,4"]
    columns = [{"label": "best", "best_of": sweeps}]
    (cell,) = Table("paper/pairs", ENVELOPE.tree | {"columns": columns}).cells
    assert [run[-3:] for run in cell.runs] == [
        (f"optimizer.momentum={momentum}", f"method.copies={m}", f"schedule.batch_size={size}")
        for momentum in ("0.5", "0.9")
        for m, size in ((1, 8), (2, 4))
    ]
    with pytest.raises(ValueError, match="shorter"):
        _ = replace(cell, best_of=("method.copies=1,2 schedule.batch_size=8",)).runs


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"evaluation": "cleen"}, "evaluation ... clean ... cleen"),
        ({"evaluation": "clean", "report": "median10"}, "report ... last ... best_test"),
        ({"part": "test"}, "part ... evaluation"),
    ],
)
def test_a_cell_that_names_no_evaluation_is_refused(changed: dict[str, str], told: str) -> None:
    columns = [{"label": "one", **changed}]
    rows = [{"label": "digits", "printed": ["3.8"]}]
    with pytest.raises(ValueError, match=says(told)):
        Table("paper/wrong", TABLE.tree | {"columns": columns, "rows": rows})


def test_another_attack_is_named_as_it_is_typed() -> None:
    cell = replace(MEASURED, evaluation="white_box", part="fgsm", measures="accuracy")
    typed = (
        "attack@evaluation.white_box.attacks.fgsm=ddn",
        "evaluation.white_box.attacks.fgsm.steps=7",
    )
    config = recorded(compose("evaluation=white_box", *typed))["evaluation"]["white_box"]
    found = {"name": "white_box", "config": config, "report": "best_test"}
    outcome = RecordIndex([run(0, {"x": found | {"metrics": {"fgsm_top1": 40.0}}})]).outcome(cell)
    assert set(typed) <= set(outcome.reduced)
    assert outcome.values == {0: 40.0}
