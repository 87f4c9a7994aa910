"""The rules by which numbers and orderings are judged."""

from statistics import mean, stdev

import numpy as np
import pytest

from vicinal.tables.verdicts import Interval, against_paper, ordering, paired, verdict

OURS = [5.0, 5.2, 4.8, 5.1, 4.9]


def test_the_interval_of_two_means_is_welchs() -> None:
    """Computed by hand: s² = 0.025 and 0.04, five runs each; t(0.975, 7.63) = 2.326."""
    found = against_paper(OURS, 5.5, spread=0.2, paper_runs=5, decimals=9)
    assert found.difference == pytest.approx(-0.5)
    assert found.half_width == pytest.approx(2.326 * (0.025 / 5 + 0.04 / 5) ** 0.5, rel=1e-3)


def test_a_single_unspread_number_is_as_uncertain_as_one_of_our_runs() -> None:
    found = against_paper(OURS, 5.0, spread=None, paper_runs=1, decimals=9)
    assert found.half_width == pytest.approx(2.776 * (0.025 * (1 + 1 / 5)) ** 0.5, rel=1e-3)


def test_rounding_of_the_printed_digits_counts() -> None:
    same = [5.0, 5.0, 5.0]
    coarse = against_paper(same, 5.0, spread=None, paper_runs=1, decimals=0)
    assert coarse.half_width == pytest.approx(4.303 / 12**0.5, rel=1e-3)


def test_a_printed_spread_of_one_run_has_no_degrees_of_freedom_of_its_own() -> None:
    found = against_paper(OURS, 5.0, spread=0.2, paper_runs=1, decimals=9)
    assert found.half_width == pytest.approx(2.776 * (0.025 / 5 + 0.04) ** 0.5, rel=1e-3)


def test_an_interval_that_reaches_zero_contains_it() -> None:
    assert [Interval(x, 0.5).side for x in (-0.6, -0.5, 0.5, 0.6)] == [-1, 0, 0, 1]
    assert Interval(0.0, 0.0).side == 0


@pytest.mark.parametrize(("spread_printed", "paper_runs"), [(True, 5), (False, 5), (False, 1)])
def test_equal_methods_are_called_different_one_time_in_twenty(
    spread_printed: bool, paper_runs: int
) -> None:
    draws, trials, wrong = np.random.default_rng(0), 2000, 0
    for _ in range(trials):
        theirs = draws.normal(5.0, 0.3, paper_runs).tolist()
        ours = draws.normal(5.0, 0.3, 4).tolist()
        spread = stdev(theirs) if spread_printed else None
        wrong += against_paper(ours, mean(theirs), spread, paper_runs, decimals=9).side != 0
    assert wrong / trials == pytest.approx(0.05, abs=0.02)


def test_pairing_by_seed_removes_what_the_seeds_share() -> None:
    draws = np.random.default_rng(0)
    splits = draws.normal(30.0, 5.0, 20)  # a split's difficulty, the same for both methods
    better = dict(enumerate((splits - 1 + draws.normal(0, 0.3, 20)).tolist()))
    worse = dict(enumerate((splits + draws.normal(0, 0.3, 20)).tolist()))
    found = paired(better, worse, sign=-1)
    assert found is not None
    assert found.side == 1
    assert found.half_width < 0.3
    assert ordering(found) == "holds"
    assert ordering(paired(worse, better, sign=-1)) == "contradicted"


def test_one_shared_seed_decides_nothing() -> None:
    assert paired({0: 1.0, 1: 1.0}, {1: 9.0, 2: 9.0}, sign=-1) is None
    assert ordering(None) == "undecided"


@pytest.mark.parametrize(
    ("interval", "percent", "whole", "expected"),
    [
        (Interval(0.3, 0.5), True, True, "reproduced"),
        (Interval(0.3, 1.1), True, True, "inconclusive"),
        (Interval(0.3, 0.5), True, False, "inconclusive"),
        (Interval(0.3, 0.2), True, True, "above"),
        (Interval(-0.3, 0.2), True, False, "below"),
        (Interval(0.1, 0.15), False, True, "reproduced"),  # 0.15 is less than a tenth of 2.0
        (Interval(0.1, 0.25), False, True, "inconclusive"),
    ],
)
def test_verdicts(interval: Interval, percent: bool, whole: bool, expected: str) -> None:
    for value in (2.0, -2.0):
        assert verdict(interval, value, percent=percent, whole=whole) == expected
