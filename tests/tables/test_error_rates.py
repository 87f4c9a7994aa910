"""How often the rules for numbers err, over many draws of runs and of printed numbers."""

from collections.abc import Iterator
from math import sqrt
from statistics import mean, stdev

import numpy as np
import pytest
from scipy import stats
from table_samples import printed

from vicinal.tables.cell import Cell
from vicinal.tables.verdicts import Deviation, against_paper, verdict


def trials(
    sigma: float,
    ours: int,
    theirs: int,
    spread: bool = False,
    true: tuple[float, float] = (5.0, 5.0),
    count: int = 500,
) -> Iterator[tuple[list[float], Cell]]:
    """Our runs and the paper's number; `true` are the means they are drawn around, theirs first."""
    draws = np.random.default_rng(0)
    for _ in range(count):
        paper = draws.normal(true[0], sigma, theirs).tolist()
        beside = f"±{stdev(paper):.6f}" if spread else ""
        cell = printed(f"{mean(paper):.6f}{beside}", paper_runs=theirs)
        yield draws.normal(true[1], sigma, ours).tolist(), cell


@pytest.mark.parametrize(("sigma", "ours"), [(0.1, 1), (0.2, 3), (0.3, 5), (0.1, 20)])
@pytest.mark.parametrize(("theirs", "spread"), [(1, False), (5, True)])
def test_equal_numbers_are_called_different_one_time_in_twenty(
    sigma: float, ours: int, theirs: int, spread: bool
) -> None:
    found = [
        against_paper(runs, cell, Deviation(sigma, "pooled"))
        for runs, cell in trials(sigma, ours, theirs, spread=spread)
    ]
    wrong = sum(each is not None and each.side != 0 for each in found)
    assert wrong / len(found) == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize(("sigma", "ours"), [(0.1, 1), (0.2, 3), (0.3, 5), (0.1, 20)])
def test_numbers_that_lie_a_margin_apart_are_hardly_ever_called_the_same(
    sigma: float, ours: int
) -> None:
    same = ("reproduced", "agrees (one run)")
    wrong = 0
    for runs, cell in trials(sigma, ours, 5, spread=True, true=(20.0, 21.0)):
        found = against_paper(runs, cell, Deviation(sigma, "pooled"))
        wrong += verdict(found, cell, ours, complete=True, failed=False) in same
    assert wrong / 500 <= 0.025 + 0.015


def reproduced(sigma: float, ours: int, theirs: int, pooled: Deviation | None) -> float:
    """How often equal numbers are reproduced."""
    found = [
        verdict(against_paper(runs, cell, pooled), cell, ours, complete=True, failed=False)
        for runs, cell in trials(sigma, ours, theirs)
    ]
    return sum(word in ("reproduced", "agrees (one run)") for word in found) / len(found)


@pytest.mark.parametrize(
    ("sigma", "ours", "power"), [(0.1, 1, 0.88), (0.1, 3, 0.99), (0.2, 3, 0.14)]
)
def test_the_power_of_the_equivalence_is_what_the_pooled_deviation_gives(
    sigma: float, ours: int, power: float
) -> None:
    """P(|d| <= 0.5 - 2 se) for a normal d; one run agrees only if it is not off, |d| <= 2 se."""
    error = sigma * sqrt(1 + 1 / ours)
    room = 0.5 - 2 * error
    room = min(room, 2 * error) if ours == 1 else room
    by_hand = 1 - 2 * stats.norm.sf(room / error)
    assert by_hand == pytest.approx(power, abs=0.01)
    found = reproduced(sigma, ours, 1, Deviation(sigma, "pooled"))
    assert found == pytest.approx(by_hand, abs=0.045)


def test_the_pooled_deviation_makes_three_runs_say_what_their_own_cannot() -> None:
    alone, pooled = (reproduced(0.1, 3, 1, known) for known in (None, Deviation(0.1, "pooled")))
    assert alone < 0.6 < 0.95 < pooled


def test_testing_after_every_seed_finds_too_much_and_interim_prevents_it() -> None:
    final, any_look = 0, 0
    for runs, cell in trials(0.2, 5, 1):
        looks = {n: against_paper(runs[:n], cell) for n in range(2, 6)}
        any_look += any(each is not None and each.side for each in looks.values())
        words = [verdict(looks[n], cell, n, complete=n == 5, failed=False) for n in looks]
        assert set(words[:3]) == {"interim"}
        final += words[3] in ("better", "worse")
    assert any_look / 500 > 0.09
    assert final / 500 == pytest.approx(0.05, abs=0.02)
