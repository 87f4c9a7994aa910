"""Cells joined with records: which runs count, and how they are judged."""

from typing import Any

import pytest
from table_samples import ERM, MIXUP, TABLE, UNAVAILABLE, record, runs

from vicinal.cli.overrides import merge
from vicinal.tables.outcome import Outcome
from vicinal.tables.results import NOT_ORIGINAL, RecordIndex
from vicinal.tables.table import Table


def outcome(*records: dict[str, Any]) -> Outcome:
    return RecordIndex(records).outcome(ERM)


def test_nothing_recorded_is_not_run_and_what_cannot_be_run_is_unavailable() -> None:
    assert outcome().verdict == "not run"
    assert outcome(*runs(MIXUP.overrides, 2.7, 2.7)).verdict == "not run"
    assert RecordIndex([]).outcome(UNAVAILABLE).verdict == "unavailable"


def test_runs_at_the_protocol_are_judged_by_the_rules() -> None:
    assert outcome(*runs(ERM.overrides, 3.75, 3.8, 3.85)).verdict == "reproduced"
    assert outcome(*runs(ERM.overrides, 5.7, 5.8, 5.9)).verdict == "worse"
    assert outcome(*runs(ERM.overrides, 1.7, 1.8, 1.9)).verdict == "better"
    assert outcome(*runs(ERM.overrides, 3.0, 3.8, 4.6)).verdict == "inconclusive"
    assert outcome(*runs(ERM.overrides, 5.75, 5.8)).verdict == "interim"
    assert outcome(*runs(ERM.overrides, 3.8)).verdict == "interim"  # no deviation is known


def test_a_failed_seed_is_counted_and_keeps_the_cell_from_being_reproduced() -> None:
    bad = {**record(ERM.overrides, 2, 0.0), "failed": "loss is not finite"}
    found = outcome(*runs(ERM.overrides, 3.75, 3.8), bad)
    assert (found.verdict, found.failed, len(found.values)) == ("inconclusive", (2,), 2)
    assert outcome(bad).verdict == "failed"


def test_seeds_that_were_not_planned_count_nowhere() -> None:
    more = [record(ERM.overrides, seed, 9.0) for seed in (3, 4)]
    found = outcome(*runs(ERM.overrides, 3.75, 3.8, 3.85), *more)
    assert (found.verdict, len(found.values), len(found.records)) == ("reproduced", 3, 5)
    assert outcome(*more).verdict == "not run"
    short = record(merge(ERM.overrides, ["schedule.epochs=9"]), 3, 9.0)
    assert outcome(short).values == {3: 9.0}  # shown, since it is never counted


def test_fewer_epochs_make_a_run_reduced() -> None:
    short = merge(ERM.overrides, ["schedule.epochs=30"])
    found = outcome(*runs(short, 3.7, 3.8, 3.9))
    assert (found.verdict, found.reduced) == ("reduced", ("schedule.epochs=30",))
    assert found.mean == pytest.approx(3.8)


def test_other_changes_are_reduced_runs_only_where_a_sweep_says_so() -> None:
    lines = ["optimizer.lr=0.4", "schedule.batch_size=64"]
    other = merge(ERM.overrides, lines)
    assert outcome(*runs(other, 3.7, 3.8, 3.9)).verdict == "not run"
    found = outcome(*runs(other, 3.7, 3.8, 3.9, reduced=lines))
    assert (found.verdict, found.reduced) == ("reduced", tuple(lines))


def test_a_reduction_to_another_network_fits_only_cells_that_set_nothing_of_their_own() -> None:
    lines = ["model=mlp", "schedule.epochs=1"]
    known = RecordIndex(runs(merge(ERM.overrides, lines), 3.7, 3.8, reduced=lines))
    assert known.outcome(ERM).reduced == tuple(lines)
    own = {**TABLE.tree, "run": [*TABLE.tree["run"], "model.stem_stride=2"]}
    assert known.outcome(Table("paper/own", own).cells[0]).verdict == "not run"


def test_of_several_budgets_the_nearest_to_the_papers_is_shown() -> None:
    budgets = [
        record(merge(ERM.overrides, [f"schedule.epochs={epochs}"]), 0, float(epochs))
        for epochs in (30, 100, 60)
    ]
    more_seeds = runs(merge(ERM.overrides, ["schedule.epochs=30"]), 3.7, 3.8, 3.9)[1:]
    assert outcome(*budgets, *more_seeds).reduced == ("schedule.epochs=100",)
    assert outcome(*budgets, *runs(ERM.overrides, 3.7, 3.8, 3.9)).reduced == ()


def test_runs_on_data_from_a_file_are_reduced_wherever_the_file_is() -> None:
    lines = ["dataset=npz", "dataset.name=mine"]
    here = runs(merge(ERM.overrides, lines, ["dataset.arrays=here.npz"]), 3.7, reduced=lines)
    found = outcome(*here)
    assert (found.verdict, found.reduced) == ("reduced", tuple(lines))


def test_a_copy_of_the_data_makes_a_run_reduced() -> None:
    found = outcome(*runs(ERM.overrides, 3.75, 3.8, 3.85, data={"canonical": False}))
    assert (found.verdict, found.reduced) == ("reduced", (NOT_ORIGINAL,))
    unknown = outcome(*runs(ERM.overrides, 3.75, 3.8, 3.85, data={"canonical": None}))
    assert (unknown.verdict, unknown.reduced) == ("reproduced", ())  # nothing to compare it with


def test_a_validation_error_is_that_of_the_chosen_epoch() -> None:
    tree = {**TABLE.tree, "report": "best_valid", "split": "valid"}
    found = RecordIndex(runs(ERM.overrides, 3.8)).outcome(Table("paper/valid", tree).cells[0])
    assert found.values == {0: 80.0}
