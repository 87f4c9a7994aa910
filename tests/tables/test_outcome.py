"""Cells joined with records: which runs count, as what."""

from collections.abc import Sequence
from typing import Any

import pytest

from vicinal.cli.overrides import merge
from vicinal.tables import table
from vicinal.tables.counts import by_chance, coverage, overview, summary
from vicinal.tables.markdown import page
from vicinal.tables.outcome import Outcome
from vicinal.tables.plan import plan_run
from vicinal.tables.results import NOT_ORIGINAL, RecordIndex, TableResults
from vicinal.tables.runs import agreement
from vicinal.tables.spreads import Spreads
from vicinal.tables.table import Table

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


# Multiply-adds of WRN-28-10's convolutions and classifier on 32 x 32 pixels, layer by layer.
WIDTHS = ((16, 160, 1024), (160, 320, 256), (320, 640, 64))
WRN = 27 * 16 * 1024 + 640 * 10
WRN += sum(pixels * (9 * a * b + 7 * 9 * b * b + a * b) for a, b, pixels in WIDTHS)


def record(overrides: Sequence[str], seed: int, error: float, **more: Any) -> dict[str, Any]:
    """What a run with these overrides would leave."""
    run, top1 = plan_run(tuple(overrides)), 100 - error
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
    return RecordIndex(records).outcome(ERM)


def test_nothing_recorded_is_not_run_and_what_cannot_be_run_waits() -> None:
    assert outcome().verdict == "not run"
    assert outcome(*runs(MIXUP.overrides, 2.7, 2.7)).verdict == "not run"
    assert RecordIndex([]).outcome(WAITING).verdict == "waits"


def test_runs_at_the_protocol_are_judged_by_the_rules() -> None:
    assert outcome(*runs(ERM.overrides, 3.75, 3.8, 3.85)).verdict == "reproduced"
    assert outcome(*runs(ERM.overrides, 5.7, 5.8, 5.9)).verdict == "worse"
    assert outcome(*runs(ERM.overrides, 1.7, 1.8, 1.9)).verdict == "better"
    assert outcome(*runs(ERM.overrides, 3.0, 3.8, 4.6)).verdict == "inconclusive"
    assert outcome(*runs(ERM.overrides, 5.75, 5.8)).verdict == "interim"
    assert outcome(*runs(ERM.overrides, 3.8)).verdict == "interim"  # no deviation is known


def spread_of(measure: str, *spreads: str, runs: int = 5, **more: Any) -> Spreads:
    """Deviations that a paper prints of CIFAR-10."""
    rows = [{"label": str(i), "printed": [f"90.00±{each}"]} for i, each in enumerate(spreads)]
    tree = {**TABLE.tree, "columns": TABLE.tree["columns"][:1], "rows": rows, "claims": []}
    return Spreads([Table("other/table1", tree | {"measures": measure, "paper_runs": runs} | more)])


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(3.8, "agrees (one run)"), (4.0, "near (one run)"), (4.3, "off (one run)")],
)
def test_one_run_is_judged_by_what_the_papers_print_of_its_data_and_measure(
    error: float, verdict: str
) -> None:
    """0.11 over 0.916, the median sample deviation of five, is 0.12; of two runs, and rounded."""
    known = spread_of("accuracy", "0.02", "0.09", "0.11", "0.12", "0.90")
    found = RecordIndex(runs(ERM.overrides, error), known).outcome(ERM)
    assert found.verdict == verdict
    assert found.difference is not None
    assert found.difference.half_width == pytest.approx(
        2 * (2 * 0.12**2 + 0.01 / 12) ** 0.5, abs=1e-3
    )
    assert found.difference.source == "pooled, 0.12 (median of 5: cifar10, top1, test)"


@pytest.mark.parametrize(
    "other",
    [
        spread_of("accuracy", *["0.11"] * 4),
        spread_of("accuracy", *["0.11"] * 5, runs=2),
        spread_of("top5_accuracy", *["0.11"] * 5),
        spread_of("accuracy", *["0.11"] * 5, run=["dataset=cifar100"]),
        spread_of("accuracy", *["0.11"] * 5, run=["dataset=cifar10", "dataset.train_per_class=25"]),
        spread_of("accuracy", *["0.11"] * 5, run=["dataset=cifar10", "dataset.label_noise=0.2"]),
        spread_of("accuracy", *["0.11"] * 5, waits="deformed test sets"),
    ],
    ids=["too few", "of two runs", "measure", "data set", "labels", "noise", "other test data"],
)
def test_only_deviations_of_the_same_kind_are_pooled(other: Spreads) -> None:
    assert RecordIndex(runs(ERM.overrides, 3.8), other).outcome(ERM).difference is None


def test_the_papers_deviations_of_each_data_set() -> None:
    """CIFAR-100's errors scatter twice as much as CIFAR-10's; a few misprints change neither."""
    known = Spreads(table.load_all())
    cells = [c for n in (1, 2) for c in table.load(f"patchup/table{n}").cells]
    found = {known.of(cell) for cell in cells if cell.measures == "error"}
    assert {each.source.partition(" (")[0] for each in found if each} == {
        "pooled, 0.12",  # CIFAR-10
        "pooled, 0.23",  # CIFAR-100
        "pooled, 0.09",  # SVHN
        "pooled, 0.32",  # Tiny-ImageNet
    }


def test_a_failed_seed_is_counted_and_keeps_the_cell_from_being_reproduced() -> None:
    bad = {**record(ERM.overrides, 2, 0.0), "failed": "loss is not finite"}
    found = outcome(*runs(ERM.overrides, 3.75, 3.8), bad)
    assert (found.verdict, found.failed, len(found.values)) == ("inconclusive", (2,), 2)
    assert outcome(bad).verdict == "failed"


def test_reduced_runs_are_not_judged_by_the_deviation_of_whole_ones() -> None:
    known, short = spread_of("accuracy", *["0.11"] * 5), merge(ERM.overrides, ["schedule.epochs=9"])
    one, two = (RecordIndex(runs(short, *e), known).outcome(ERM) for e in ((3.8,), (3.8, 3.9)))
    assert (one.verdict, one.difference) == ("reduced", None)
    assert two.difference is not None
    assert two.difference.source == "ours"
    other = runs(merge(MIXUP.overrides, ["schedule.epochs=9"]), 3.6, 3.5)
    (pair,) = TableResults.of(TABLE, RecordIndex([*runs(short, 3.8, 3.9), *other], known)).orderings
    assert pair.gain is not None
    assert pair.gain.source == "ours"


def test_seeds_that_redraw_a_split_decide_less() -> None:
    """Gains of 0.2, 0.3 and 0.4: 0.3 ± 0.25, or ± 0.33 where a fifth is redrawn to test on."""
    known = RecordIndex(
        [*runs(ERM.overrides, 3.8, 3.8, 3.8), *runs(MIXUP.overrides, 3.6, 3.5, 3.4)]
    )
    redrawn = Table("paper/redrawn", {**TABLE.tree, "resampled": 0.2})
    assert TableResults.of(TABLE, known).ordering_verdicts == {"holds": 1}
    assert TableResults.of(redrawn, known).ordering_verdicts == {"undecided": 1}


def test_one_shared_seed_shows_where_an_ordering_points() -> None:
    known = spread_of("accuracy", *["0.11"] * 5)
    for error, verdict in (
        (2.7, "points that way"),
        (3.6, "no sign"),
        (4.9, "points the other way"),
    ):
        found = RecordIndex([*runs(ERM.overrides, 3.8), *runs(MIXUP.overrides, error)], known)
        assert TableResults.of(TABLE, found).ordering_verdicts == {verdict: 1}


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


def test_a_copy_of_the_data_makes_a_run_reduced() -> None:
    found = outcome(*runs(ERM.overrides, 3.75, 3.8, 3.85, data={"canonical": False}))
    assert (found.verdict, found.reduced) == ("reduced", (NOT_ORIGINAL,))
    unknown = outcome(*runs(ERM.overrides, 3.75, 3.8, 3.85, data={"canonical": None}))
    assert (unknown.verdict, unknown.reduced) == ("reproduced", ())  # nothing to compare it with


def test_a_validation_error_is_that_of_the_chosen_epoch() -> None:
    tree = {**TABLE.tree, "report": "best_valid", "split": "valid"}
    found = RecordIndex(runs(ERM.overrides, 3.8)).outcome(Table("paper/valid", tree).cells[0])
    assert found.values == {0: 80.0}


@pytest.mark.parametrize(
    ("measures", "unit", "printed", "ours", "verdict"),
    [
        ("parameters", "M", "36.5", 36.479194, "equal"),
        ("parameters", "M", "36.47", 36.479194, "unequal"),
        ("multiply_adds", "G", "5.2", WRN / 1e9, "equal"),
    ],
)
def test_what_a_network_costs_is_counted_without_a_run(
    measures: str, unit: str, printed: str, ours: float, verdict: str
) -> None:
    """WRN-28-10 at 32 pixels has 36.5 M parameters (Zagoruyko and Komodakis)."""
    rows = [{"label": "CIFAR-10", "printed": [printed, None, None]}]
    tree = {**TABLE.tree, "measures": measures, "unit": unit, "rows": rows, "claims": []}
    made = Table("paper/size", tree)
    found = RecordIndex([]).outcome(made.cells[0])
    assert (found.mean, found.verdict) == (pytest.approx(ours, abs=1e-9), verdict)
    assert "| paper | 1 | 1 | 0 | 0 | 1 | 0 | 0 |" in coverage([made])


def test_multiply_adds_are_those_of_the_size_that_is_trained_on() -> None:
    run = ["dataset=imagenet", "model=wrn10_2"]
    counts = []
    for size in (64, 128):
        rows = [{"label": "x", "printed": ["1", None, None], "run": [f"dataset.size={size}"]}]
        more = {"measures": "multiply_adds", "unit": "M", "run": run, "rows": rows, "claims": []}
        made = Table("paper/size", {**TABLE.tree, **more})
        counts.append(RecordIndex([]).outcome(made.cells[0]).counted)
    classifier = 128 * 1000 / 1e6  # which sees one pixel at any size
    assert counts[1] - classifier == pytest.approx(4 * (counts[0] - classifier))


def test_orderings_of_what_is_counted_are_counted_apart() -> None:
    small = {"label": "small", "run": ["dataset=cifar10", "model=wrn10_2"]}
    large = {"label": "large", "run": ["dataset=cifar10", "model=wrn16_4"]}
    size = {"measures": "parameters", "unit": "M", "run": [], "stub": [""]}
    rows = [{"label": "x", "printed": ["1", "2"]}]
    claims = [{"says": "small is smaller", "better": "small", "than": ["large"]}]
    tree = {"caption": "Sizes", "columns": [small, large], "rows": rows, "claims": claims} | size
    joined = TableResults.of(Table("paper/sizes", tree), RecordIndex([]))
    assert joined.exact_verdicts["ordering holds"] == 1
    assert joined.ordering_verdicts == {}


def test_a_definition_is_neither_run_nor_waited_for() -> None:
    rows = [{"label": "CIFAR-10", "printed": [{"printed": "100.00", "definition": True}, "1", "2"]}]
    made = Table("paper/defined", {**TABLE.tree, "rows": rows})
    joined = TableResults.of(made, RecordIndex([]))
    assert joined.outcomes[0].verdict == "definition"
    assert joined.exact_verdicts == {"definition": 1}
    assert "| paper | 1 | 3 | 1 | 1 | 0 | 1 | 0 |" in coverage([made])


def test_quoted_numbers_are_counted_apart() -> None:
    rows = [{**TABLE.tree["rows"][0], "quoted": "Zagoruyko"}]
    quoted = TableResults.of(Table("paper/quoted", {**TABLE.tree, "rows": rows}), RecordIndex([]))
    assert quoted.verdicts("authors") == {}
    assert quoted.verdicts("quoted") == {"not run": 2, "waits": 1}


def test_the_verdicts_that_chance_makes_stand_beside_the_counts() -> None:
    expected = by_chance({"reproduced": 30, "worse": 10, "off (one run)": 20, "undecided": 80})
    assert expected["better"] == expected["worse"] == expected["reproduced"] == 1
    assert (expected["off (one run)"], expected["holds"], expected["contradicted"]) == (1, 2, 2)
    judged = TableResults.of(TABLE, RecordIndex(runs(ERM.overrides, 3.75, 3.8, 3.85)))
    assert "| by chance alone, at most | 0.0 | 0.0 | 0.0 |" in overview([judged])


@pytest.mark.parametrize(
    ("mixup", "expected"),
    [
        ((2.6, 2.7, 2.8), "holds"),
        ((4.6, 4.7, 4.8), "contradicted"),
        ((2.6, 2.7), "interim"),
        ((2.6,), "no sign"),
        ((3.0, 3.8, 4.9), "undecided"),
        ((), "not run"),
    ],
)
def test_orderings_are_judged_by_our_runs(mixup: tuple[float, ...], expected: str) -> None:
    known = RecordIndex([*runs(ERM.overrides, 3.7, 3.8, 3.9), *runs(MIXUP.overrides, *mixup)])
    joined = TableResults.of(TABLE, known)
    (found,) = joined.orderings
    assert found.verdict == expected
    assert joined.ordering_verdicts == {expected: 1}


@pytest.mark.parametrize(("mixup", "printed"), [("2.7", True), ("3.8", False), ("3.9", False)])
def test_a_tie_in_the_papers_numbers_supports_no_claim(mixup: str, printed: bool) -> None:
    tree = {**TABLE.tree, "rows": [{"label": "CIFAR-10", "printed": ["3.8", mixup, "1.0"]}]}
    (found,) = TableResults.of(Table("paper/tie", tree), RecordIndex([])).orderings
    assert found.paper_agrees == printed


def test_runs_with_different_budgets_are_not_compared() -> None:
    short = merge(MIXUP.overrides, ["schedule.epochs=30"])
    known = RecordIndex([*runs(ERM.overrides, 3.7, 3.8, 3.9), *runs(short, 2.6, 2.7, 2.8)])
    joined = TableResults.of(TABLE, known)
    (found,) = joined.orderings
    assert (found.gain, found.reduced) == (None, True)
    assert joined.ordering_verdicts == {"not run": 1}


def test_the_same_records_give_the_same_bytes_in_any_order() -> None:
    known = [*runs(ERM.overrides, 3.7, 3.8, 3.9), *runs(MIXUP.overrides, 2.6, 2.7)]
    one, two = (TableResults.of(TABLE, RecordIndex(order)) for order in (known, known[::-1]))
    assert page(one) == page(two)
    assert summary([one], "rules") == summary([two], "rules")


def test_a_page_says_what_is_known_of_each_number() -> None:
    bad = {**record(ERM.overrides, 2, 0.0), "failed": "loss is not finite"}
    known = RecordIndex([*runs(ERM.overrides, 3.7, 3.9), bad])
    text = page(TableResults.of(TABLE, known))
    ours = "± 0.38 | 3.80 ± 0.14 (2, 1 failed) | +0.00 ± 2.23 | ours | no | no | inconclusive |"
    assert f"| CIFAR-10 | ERM | 3.8 | {ours}" in text
    assert "| CIFAR-10 | mixup | 2.7 | ± 0.27 |  |  |  |  |  | not run |" in text
    assert "| CIFAR-10 | GAN | 1.0 |  |  |  |  |  |  | waits: language models |" in text


def test_an_interim_verdict_says_how_many_seeds_it_is_of() -> None:
    text = page(TableResults.of(TABLE, RecordIndex(runs(ERM.overrides, 5.78, 5.8))))
    assert "| worse | no | interim: worse so far (2 of 3 seeds) |" in text


def test_a_page_says_on_what_numbers_were_made() -> None:
    gpu = {"ranks": 2, "device": {"type": "cuda"}, "runtime": {"precision": "bf16"}}
    found = runs(ERM.overrides, 3.8, 3.9, sessions=[gpu])
    made = Table("paper/made", {**TABLE.tree, "gpus": 8})
    text = page(TableResults.of(made, RecordIndex(found)))
    theirs = "paper: 8 GPUs, each normalising its own share of a batch"
    assert f"- ours: bf16 on 2 GPUs; {theirs} (CIFAR-10, ERM)" in text
    assert f"- {theirs} (CIFAR-10, mixup; CIFAR-10, GAN)" in text


def test_the_coverage_counts_numbers_and_distinct_runs() -> None:
    assert "| paper | 1 | 3 | 2 | 2 | 0 | 0 | 0 |" in coverage([TABLE])
    assert "| language models | 1 |" in coverage([TABLE])


def test_two_sets_of_records_are_compared_run_by_run() -> None:
    theirs = runs(ERM.overrides, 3.7, 3.8, 3.9)
    bad = {**record(ERM.overrides, 0, 0.0), "failed": "loss is not finite"}
    text = agreement([*runs(ERM.overrides, 3.7, 4.05), *runs(MIXUP.overrides, 1.0)], [*theirs, bad])
    assert text.startswith("1 of 2 runs have the recorded accuracy")
    assert text.endswith("the largest difference is 0.25 points")
