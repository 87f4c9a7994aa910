"""The deviations that papers print, pooled to judge cells of one or two runs."""

import pytest
from table_samples import ERM, MIXUP, TABLE, runs, spread_of

from vicinal.cli.overrides import merge
from vicinal.tables import table
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.spreads import Spreads


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
        spread_of("accuracy", *["0.11"] * 5, unavailable="Too large."),
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
