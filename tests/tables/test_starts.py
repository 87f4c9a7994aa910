"""Cells whose run begins with the weights of another: fine-tuning."""

from pathlib import Path

from table_samples import record

from vicinal.tables.plan import compose_cached, plan_run
from vicinal.tables.request import parse_request
from vicinal.tables.results import RecordIndex
from vicinal.tables.sweep import Sweep
from vicinal.tables.table import Table

TABLE = Table(
    "paper/tuned",
    {
        "caption": "Test error",
        "run": ["dataset=digits", "model=wrn10_2"],
        "when": [{"given": "method=cutmix", "run": ["optimizer.lr=0.2"]}],
        "seeds": [0, 1],
        "stub": ["Method"],
        "columns": [{"label": "Error"}],
        "rows": [
            {"label": "CutMix", "run": ["method=cutmix"], "printed": ["57.0"]},
            {
                "label": "MaxUp",
                "run": ["method=maxup_cutmix", "schedule.epochs=20", "init.report=best_test"],
                "start": ["method=cutmix"],
                "printed": ["46.0"],
            },
        ],
    },
)
CUTMIX, MAXUP = TABLE.cells


def names() -> tuple[str, str]:
    """The runs of both cells."""
    return plan_run(CUTMIX.overrides).name, plan_run(MAXUP.overrides).name


def test_a_start_is_a_run_of_the_table_by_its_rules() -> None:
    assert plan_run(MAXUP.start).name == names()[0]
    begun = plan_run(MAXUP.overrides).config["init"]
    assert (begun["name"], begun["report"], begun["seed"]) == (names()[0], "best_test", "${seed}")


def sweep(folder: Path, *typed: str) -> Sweep:
    places = (f"out={folder}/runs", f"results={folder}/results")
    return Sweep([TABLE], parse_request([*places, *typed]), compose_cached)


def test_a_run_is_launched_once_its_start_is_there(tmp_path: Path) -> None:
    plan = sweep(tmp_path, "+only=MaxUp")
    cutmix, maxup = names()
    first, then = plan.stages()
    assert {job.place for job, _ in first} == {(cutmix, 0), (cutmix, 1)}
    assert {job.place for job, _ in then} == {(maxup, 0), (maxup, 1)}
    for _, overrides in then:
        assert {"init=run", f"init.name={cutmix}"} <= set(overrides)


def test_a_run_whose_start_failed_is_still_tried_and_says_why(tmp_path: Path) -> None:
    plan = sweep(tmp_path, "+only=MaxUp", "seed=0")
    stages = plan.stages()
    ((job, overrides),) = next(stages)
    plan.record_failure(job, overrides, ValueError("it diverged"))
    ((job, overrides),) = next(stages)
    assert job.place == (names()[1], 0)


def test_a_reduced_plan_has_a_reduced_start(tmp_path: Path) -> None:
    plan = sweep(tmp_path, "+only=MaxUp", "seed=0", "schedule.epochs=3")
    short = plan_run((*MAXUP.start, "schedule.epochs=3")).name
    first, ((job, overrides),) = plan.stages()
    assert [job.place for job, _ in first] == [(short, 0)]
    assert f"init.name={short}" in overrides
    assert job.run.config["init"]["name"] == short


def test_a_reduced_record_is_found_under_its_own_start() -> None:
    short = plan_run((*MAXUP.start, "schedule.epochs=3")).name
    lines = (*MAXUP.overrides, "schedule.epochs=3", f"init.name={short}")
    found = RecordIndex([record(lines, 0, 50.0)]).outcome(MAXUP)
    assert found.verdict == "reduced"
    assert found.reduced == ("schedule.epochs=3",)
    other = (*MAXUP.overrides, "schedule.epochs=3")  # begun with the weights of the whole run
    assert RecordIndex([record(other, 0, 50.0)]).outcome(MAXUP).verdict == "not run"
