"""Cells joined with records: which runs count, as what."""

from collections.abc import Sequence
from typing import Any

import pytest

from vicinal.tables.markdown import coverage, page, summary
from vicinal.tables.outcome import NOT_ORIGINAL, Joined, Outcome, Records
from vicinal.tables.plan import planned
from vicinal.tables.runs import against
from vicinal.tables.table import Table, merge

TABLE = Table(
    "paper/small",
    {
        "caption": "Test error",
        "run": ["dataset=cifar10", "model=wrn28_10"],
        "stub": ["Data"],
        "columns": [
            {"label": "ERM", "run": ["method=erm"]},
            {"label": "mixup", "run": ["method=mixup"]},
            {"label": "GAN", "waits": "language models"},
        ],
        "rows": [{"label": "CIFAR-10", "printed": ["3.8", "2.7", "1.0"]}],
        "claims": [{"says": "mixup wins", "better": "mixup", "than": ["ERM"]}],
    },
)
ERM, MIXUP, WAITING = TABLE.cells


def record(overrides: Sequence[str], seed: int, error: float, **more: Any) -> dict[str, Any]:
    """What a run with these overrides would leave."""
    run, top1 = planned(tuple(overrides)), 100 - error
    return {
        "name": run.name,
        "seed": seed,
        "config": run.config | {"seed": seed, "reduced": more.pop("reduced", [])},
        "metrics": {"last": {"top1": top1}, "best_valid": {"top1": top1, "epoch": 2}},
        "curves": {"epoch": [1.0, 2.0, 3.0], "valid_top1": [10.0, 20.0, 30.0]},
        "data": {"canonical": True},
        "parameters": 36_479_194,
    } | more


def runs(overrides: Sequence[str], *errors: float, **more: Any) -> list[dict[str, Any]]:
    return [record(overrides, seed, error, **more) for seed, error in enumerate(errors)]


def outcome(*records: dict[str, Any]) -> Outcome:
    return Records(records).outcome(ERM)


def test_nothing_recorded_is_not_run_and_what_cannot_be_run_waits() -> None:
    assert outcome().verdict == "not run"
    assert outcome(*runs(MIXUP.overrides, 2.7, 2.7)).verdict == "not run"
    assert Records([]).outcome(WAITING).verdict == "waits"


def test_runs_at_the_protocol_are_judged_by_the_rules() -> None:
    assert outcome(*runs(ERM.overrides, 3.7, 3.8, 3.9)).verdict == "reproduced"
    assert outcome(*runs(ERM.overrides, 5.7, 5.8, 5.9)).verdict == "above"
    assert outcome(*runs(ERM.overrides, 3.7, 3.8)).verdict == "inconclusive"  # a seed is missing
    assert outcome(*runs(ERM.overrides, 3.8)).verdict == "inconclusive"


def test_a_failed_seed_is_counted_and_keeps_the_cell_from_being_reproduced() -> None:
    good = runs(ERM.overrides, 3.7, 3.8, 3.9)
    bad = {**record(ERM.overrides, 3, 0.0), "failed": "loss is not finite"}
    found = outcome(*good, bad)
    assert (found.verdict, found.failed, len(found.values)) == ("inconclusive", (3,), 3)
    assert outcome(bad).verdict == "failed"


def test_fewer_epochs_are_a_reduced_run_whoever_launched_them() -> None:
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
    known = Records(runs(merge(ERM.overrides, lines), 3.7, 3.8, reduced=lines))
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


def test_a_copy_of_the_data_makes_a_run_reduced() -> None:
    found = outcome(*runs(ERM.overrides, 3.7, 3.8, 3.9, data={"canonical": False}))
    assert (found.verdict, found.reduced) == ("reduced", (NOT_ORIGINAL,))
    unknown = outcome(*runs(ERM.overrides, 3.7, 3.8, 3.9, data={"canonical": None}))
    assert (unknown.verdict, unknown.reduced) == ("reproduced", ())  # nothing to compare it with


def test_a_validation_error_is_that_of_the_chosen_epoch() -> None:
    tree = {**TABLE.tree, "report": "best_valid", "split": "valid"}
    found = Records(runs(ERM.overrides, 3.8)).outcome(Table("paper/valid", tree).cells[0])
    assert found.values == {0: 80.0}


def test_the_size_of_a_network_is_read_in_millions() -> None:
    tree = {**TABLE.tree, "measures": "parameters"}
    found = Records(runs(ERM.overrides, 3.8)).outcome(Table("paper/size", tree).cells[0])
    assert found.mean == pytest.approx(36.479194)


@pytest.mark.parametrize(
    ("mixup", "expected"),
    [
        ((2.6, 2.7, 2.8), "holds"),
        ((4.6, 4.7, 4.8), "contradicted"),
        ((3.0, 3.8, 4.9), "undecided"),
        ((), "not run"),
    ],
)
def test_orderings_are_judged_by_our_runs(mixup: tuple[float, ...], expected: str) -> None:
    known = Records([*runs(ERM.overrides, 3.7, 3.8, 3.9), *runs(MIXUP.overrides, *mixup)])
    joined = Joined.of(TABLE, known)
    (found,) = joined.comparisons
    assert found.verdict == expected
    assert joined.orderings == {expected: 1}


@pytest.mark.parametrize(("mixup", "printed"), [("2.7", True), ("3.8", False), ("3.9", False)])
def test_a_tie_in_the_papers_numbers_bears_no_claim_out(mixup: str, printed: bool) -> None:
    tree = {**TABLE.tree, "rows": [{"label": "CIFAR-10", "printed": ["3.8", mixup, "1.0"]}]}
    (found,) = Joined.of(Table("paper/tie", tree), Records([])).comparisons
    assert found.printed == printed


def test_runs_with_different_budgets_are_not_compared() -> None:
    short = merge(MIXUP.overrides, ["schedule.epochs=30"])
    known = Records([*runs(ERM.overrides, 3.7, 3.8, 3.9), *runs(short, 2.6, 2.7, 2.8)])
    joined = Joined.of(TABLE, known)
    (found,) = joined.comparisons
    assert (found.verdict, found.reduced) == ("undecided", True)
    assert joined.orderings == {"not run": 1}


def test_the_same_records_give_the_same_bytes_in_any_order() -> None:
    known = [*runs(ERM.overrides, 3.7, 3.8, 3.9), *runs(MIXUP.overrides, 2.6, 2.7)]
    one, two = (Joined.of(TABLE, Records(order)) for order in (known, known[::-1]))
    assert page(one) == page(two)
    assert summary([one], "rules") == summary([two], "rules")


def test_a_page_says_what_is_known_of_each_number() -> None:
    bad = {**record(ERM.overrides, 3, 0.0), "failed": "loss is not finite"}
    known = Records([*runs(ERM.overrides, 3.7, 3.8, 3.9), bad])
    text = page(Joined.of(TABLE, known))
    assert (
        "| CIFAR-10 | ERM | 3.8 | 3.80 ± 0.10 (3, 1 failed) | +0.00 ± 0.51 | inconclusive |" in text
    )
    assert "| CIFAR-10 | mixup | 2.7 |  |  | not run |" in text
    assert "| CIFAR-10 | GAN | 1.0 |  |  | waits: language models |" in text


def test_the_coverage_counts_numbers_and_distinct_runs() -> None:
    assert "| paper | 1 | 3 | 2 | 2 | 0 |" in coverage([TABLE])
    assert "| language models | 1 |" in coverage([TABLE])


def test_two_sets_of_records_are_compared_run_by_run() -> None:
    theirs = runs(ERM.overrides, 3.7, 3.8, 3.9)
    bad = {**record(ERM.overrides, 0, 0.0), "failed": "loss is not finite"}
    text = against([*runs(ERM.overrides, 3.7, 4.05), *runs(MIXUP.overrides, 1.0)], [*theirs, bad])
    assert text.startswith("1 of 2 runs have the recorded accuracy")
    assert text.endswith("the largest difference is 0.25 points")
