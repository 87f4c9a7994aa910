"""Claims that one method beats another, judged by pairs of runs."""

import pytest
from table_samples import ERM, MIXUP, TABLE, runs, spread_of

from vicinal.cli.overrides import merge
from vicinal.tables.results import RecordIndex, TableResults
from vicinal.tables.table import Table


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


def test_one_shared_seed_shows_where_an_ordering_points() -> None:
    known = spread_of("accuracy", *["0.11"] * 5)
    for error, verdict in (
        (2.7, "points that way"),
        (3.6, "no sign"),
        (4.9, "points the other way"),
    ):
        found = RecordIndex([*runs(ERM.overrides, 3.8), *runs(MIXUP.overrides, error)], known)
        assert TableResults.of(TABLE, found).ordering_verdicts == {verdict: 1}


def test_seeds_that_redraw_a_split_decide_less() -> None:
    """Gains of 0.2, 0.3 and 0.4: 0.3 ± 0.25, or ± 0.33 where a fifth is redrawn to test on."""
    known = RecordIndex(
        [*runs(ERM.overrides, 3.8, 3.8, 3.8), *runs(MIXUP.overrides, 3.6, 3.5, 3.4)]
    )
    redrawn = Table("paper/redrawn", {**TABLE.tree, "resampled": 0.2})
    assert TableResults.of(TABLE, known).ordering_verdicts == {"holds": 1}
    assert TableResults.of(redrawn, known).ordering_verdicts == {"undecided": 1}
