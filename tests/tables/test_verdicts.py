"""The rules by which numbers and orderings are judged."""

from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats
from table_samples import printed

from vicinal.tables import spreads, verdicts
from vicinal.tables.cell import Cell
from vicinal.tables.verdicts import (
    Deviation,
    Interval,
    against_paper,
    margin,
    ordering,
    paired_gain,
    verdict,
)

OURS = [5.0, 5.2, 4.8, 5.1, 4.9]


def half(ours: list[float], cell: Cell, pooled: Deviation | None = None) -> float:
    found = against_paper(ours, cell, pooled)
    assert found is not None
    return found.half_width


def test_the_interval_of_two_means_is_welchs() -> None:
    """Computed by hand: s² = 0.025 and 0.04, five runs each; t(0.975, 7.63) = 2.326."""
    found = against_paper(OURS, printed("5.5000000±0.2", paper_runs=5))
    assert found is not None
    assert found.difference == pytest.approx(-0.5)
    assert found.half_width == pytest.approx(2.326 * (0.025 / 5 + 0.04 / 5) ** 0.5, rel=1e-3)


def test_a_single_unspread_number_is_as_uncertain_as_one_of_our_runs() -> None:
    expected = 2.776 * (0.025 * (1 + 1 / 5)) ** 0.5
    assert half(OURS, printed("5.0000000")) == pytest.approx(expected, rel=1e-3)


def test_rounding_of_the_printed_digits_counts() -> None:
    assert half([5.0] * 3, printed("5")) == pytest.approx(4.303 / 12**0.5, rel=1e-3)


def test_a_printed_spread_of_one_run_has_no_degrees_of_freedom_of_its_own() -> None:
    expected = 2.776 * (0.025 / 5 + 0.04) ** 0.5
    assert half(OURS, printed("5.0000000±0.2")) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("spread", "expected"), [("0.11", 0.33), ("0.22", 0.67)])
def test_one_run_is_predicted_by_the_printed_deviation(spread: str, expected: float) -> None:
    """t(0.975, 4) = 2.776 times s sqrt(1 + 1/5): MaxUp's Tables 3 and 4."""
    cell = printed(f"5.0000000±{spread}", paper_runs=5)
    assert half([5.0], cell, Deviation(9.0, "pooled")) == pytest.approx(expected, abs=0.005)


def test_few_runs_are_judged_by_the_pooled_deviation_and_keep_their_own_beside_it() -> None:
    pooled, cell = Deviation(0.2, "pooled"), printed("5.0000000")
    one, three = (against_paper(ours, cell, pooled) for ours in (OURS[:1], OURS[:3]))
    assert one is not None
    assert three is not None
    assert (one.half_width, one.source, one.ours_alone) == (
        pytest.approx(0.4 * sqrt(2)),
        "pooled",
        None,
    )
    assert three.half_width == pytest.approx(0.4 * sqrt(1 + 1 / 3))
    assert three.ours_alone == pytest.approx(half(OURS[:3], cell))
    assert half(OURS, cell, pooled) == half(OURS, cell)  # five are enough
    assert against_paper(OURS[:1], cell) is None


def test_runs_that_scatter_more_than_the_pooled_deviation_allows_are_judged_by_their_own() -> None:
    wild, pooled, cell = [4.0, 5.0, 6.0], Deviation(0.2, "pooled"), printed("5.0000000")
    assert half(wild, cell, pooled) == half(wild, cell) > 4
    gains = paired_gain(dict(enumerate(wild)), dict.fromkeys(range(3), 5.0), 1, pooled=pooled)
    assert gains is not None
    assert gains.source == "ours"


def test_an_interval_that_reaches_zero_contains_it() -> None:
    assert [Interval(x, 0.5).side for x in (-0.6, -0.5, 0.5, 0.6)] == [-1, 0, 0, 1]
    assert Interval(0.0, 0.0).side == 0


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (printed("3.80"), 0.38),
        (printed("23.50"), 1.0),
        (printed("96.20", measures="accuracy", better="higher"), 0.38),
        (printed("76.3", measures="accuracy", better="higher"), 1.0),
        (printed("2.0"), 0.2),
        (printed("2"), 1.0),  # the printed resolution
        (printed("0.28"), 0.028),
        (printed("0.02"), 0.01),
        (printed("2.37±0.02", measures="nll", unit="nats"), 0.06),
        (printed("0.22±0.10", measures="nll", unit="nats"), 0.022),
        (printed("2.37", measures="nll", unit="nats"), 0.237),
        (printed("56.25", measures="perplexity", unit="", evaluation="perplexity"), 0.5625),
    ],
)
def test_the_margin_is_a_point_or_a_tenth_of_the_error(cell: Cell, expected: float) -> None:
    assert margin(cell) == pytest.approx(expected)


def test_pairing_by_seed_removes_what_the_seeds_share() -> None:
    draws = np.random.default_rng(0)
    splits = draws.normal(30.0, 5.0, 20)  # a split's difficulty, the same for both methods
    better = dict(enumerate((splits - 1 + draws.normal(0, 0.3, 20)).tolist()))
    worse = dict(enumerate((splits + draws.normal(0, 0.3, 20)).tolist()))
    found, reverse = paired_gain(better, worse, sign=-1), paired_gain(worse, better, sign=-1)
    assert found is not None
    assert found.half_width < 0.3
    assert ordering(found, 20, complete=True, failed=False) == "holds"
    assert ordering(reverse, 20, complete=True, failed=False) == "contradicted"


def test_seeds_that_redraw_a_split_are_less_certain_than_their_number_says() -> None:
    """Gains that share a fifth of their variance, as Nadeau and Bengio take splits of 80/20 to."""
    draws, count = np.random.default_rng(0), 700
    wrong = {0.0: 0, 0.25: 0}
    for _ in range(count):
        gains = sqrt(0.2) * draws.normal() + sqrt(0.8) * draws.normal(size=20)
        better, worse = dict(enumerate(gains.tolist())), dict.fromkeys(range(20), 0.0)
        for overlap in wrong:
            found = paired_gain(better, worse, 1, overlap)
            wrong[overlap] += found is not None and found.side != 0
    assert wrong[0.0] / count > 0.3
    assert wrong[0.25] / count == pytest.approx(0.05, abs=0.02)
    split = half(OURS, printed("5.0000000", resampled=0.2))
    assert split == pytest.approx(2.776 * (0.025 * (1 + 1 / 5 + 1 / 4)) ** 0.5, rel=1e-3)


FINAL = {"num_runs": 3, "complete": True, "failed": False}


@pytest.mark.parametrize(
    ("difference", "width", "said", "expected"),
    [
        (0.1, 0.2, {}, "reproduced"),
        (0.2, 0.1, {}, "reproduced"),  # different, but within 0.5
        (0.3, 0.4, {}, "inconclusive"),
        (0.6, 0.2, {}, "worse"),
        (-0.6, 0.2, {}, "better"),
        (0.1, 0.2, {"complete": False}, "interim"),
        (-0.6, 0.2, {"complete": False}, "interim"),
        (-0.6, 0.2, {"failed": True}, "inconclusive"),
        (0.1, 0.2, {"num_runs": 1, "complete": False}, "agrees (one run)"),
        (0.3, 0.4, {"num_runs": 1, "complete": False}, "near (one run)"),
        (0.2, 0.1, {"num_runs": 1, "complete": False}, "off (one run)"),
        (0.1, 0.2, {"num_runs": 1, "complete": False, "failed": True}, "inconclusive"),
    ],
)
def test_verdicts(difference: float, width: float, said: dict[str, Any], expected: str) -> None:
    assert verdict(Interval(difference, width), printed("5.0"), **FINAL | said) == expected


def test_without_a_deviation_nothing_is_concluded() -> None:
    cell = printed("5.0")
    assert verdict(None, cell, 1, complete=False, failed=False) == "interim"
    assert verdict(None, cell, 1, complete=True, failed=False) == "inconclusive"


@pytest.mark.parametrize(
    ("better", "expected"), [("lower", "worse"), ("higher", "better"), ("none", "differs")]
)
def test_larger_is_better_or_worse_or_neither(better: str, expected: str) -> None:
    assert verdict(Interval(0.6, 0.05), printed("5.0", better=better), **FINAL) == expected


@pytest.mark.parametrize(
    ("gain", "expected"),
    [(0.6, "points that way"), (-0.6, "points the other way"), (0.5, "no sign")],
)
def test_one_shared_seed_gives_a_sign(gain: float, expected: str) -> None:
    """2 sqrt(2) times 0.2 is 0.57."""
    found = paired_gain(
        {0: 5.0 - gain, 1: 9.0}, {0: 5.0, 2: 9.0}, -1, pooled=Deviation(0.2, "pooled")
    )
    assert ordering(found, 1, complete=False, failed=False) == expected
    unknown = paired_gain({0: 5.0 - gain}, {0: 5.0}, -1)
    assert ordering(unknown, 1, complete=False, failed=False) == "no sign"


def test_orderings_are_final_only_with_all_planned_seeds() -> None:
    sure = Interval(1.0, 0.5)
    assert ordering(sure, 3, complete=True, failed=False) == "holds"
    assert ordering(sure, 2, complete=False, failed=False) == "interim"
    assert ordering(sure, 2, complete=False, failed=True) == "undecided"
    assert ordering(Interval(0.1, 0.5), 3, complete=True, failed=False) == "undecided"
    assert ordering(None, 0, complete=False, failed=False) == "interim"


def test_quantiles_are_those_of_scipys_distributions_bit_for_bit() -> None:
    """Importing the distributions takes a second."""
    for freedom in (1, 2, 4, 9, 2.5, 7.77):
        assert verdicts._t(freedom) == stats.t.ppf(0.975, freedom)
    for freedom in (1, 2, 3, 9):
        assert verdicts._widest(freedom) == stats.chi2.ppf(0.99, freedom) / freedom
        expected = float(stats.chi2.median(freedom) / freedom) ** 0.5
        assert spreads._median_deviation(freedom + 1) == expected
