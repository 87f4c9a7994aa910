"""The order of value: the most printed numbers for each hour."""

from itertools import permutations

import pytest
from table_samples import printed

from vicinal.tables.value import Number, Place, Runs, Step, by_value, worths

CELL = printed("1.0")


def needs(*names: str, seed: int = 0) -> Runs:
    return frozenset((name, seed) for name in names)


def hours_of(**hours: float) -> dict[Place, float]:
    return {(name, 0): value for name, value in hours.items()}


def names(steps: list[Step]) -> list[str]:
    return [name for step in steps for name, _ in step.runs]


def test_the_run_that_completes_most_numbers_per_hour_is_first() -> None:
    worth = {needs("one"): 1.0, needs("four"): 4.0, needs("long"): 4.0}
    assert names(by_value(worth, hours_of(one=1, four=2, long=5))) == ["four", "one", "long"]


def test_a_run_that_several_tables_share_counts_for_all_of_them() -> None:
    worth = worths(
        [Number(CELL, {0: needs("shared")}), Number(CELL, {0: needs("shared")})], {("shared", 0)}
    )
    assert worth == {needs("shared"): 2.0}


def test_the_first_seed_is_a_number_and_each_other_one_a_share_of_it() -> None:
    seeds = {seed: needs("run", seed=seed) for seed in (3, 4, 5, 6)}
    every = {("run", seed) for seed in seeds}
    assert worths([Number(CELL, seeds)], every) == {
        seeds[3]: 1.0,
        seeds[4]: 0.25,
        seeds[5]: 0.25,
        seeds[6]: 0.25,
    }
    # Once one is there, the others are worth no more than before.
    assert set(worths([Number(CELL, seeds)], every - {("run", 5)}).values()) == {0.25}
    assert worths([Number(CELL, seeds)], set()) == {}


def test_runs_that_a_number_needs_together_count_once_all_are_there() -> None:
    """Three runs of an hour each make one number, and another needs one of them alone."""
    worth = {needs("a", "b", "c"): 1.0, needs("a"): 0.5, needs("d"): 0.4}
    steps = by_value(worth, hours_of(a=1, b=1, c=1, d=1))
    assert [step.runs for step in steps] == [(("a", 0),), (("b", 0), ("c", 0)), (("d", 0),)]
    assert [step.worth for step in steps] == [0.5, 1.0, 0.4]
    assert [step.hours for step in steps] == [1, 2, 1]
    assert steps[1].needs == needs("a", "b", "c")


def test_what_others_begin_with_comes_before_them() -> None:
    worth = {needs("backbone", "a_detector"): 1.0, needs("backbone", "other"): 1.0}
    hours = hours_of(backbone=10, a_detector=1, other=1)
    behind = [("a_detector", 0), ("other", 0)]
    assert names(by_value(worth, hours, behind)) == ["backbone", "a_detector", "other"]


def test_a_run_of_unknown_length_is_last() -> None:
    worth = {needs("unknown"): 9.0, needs("long"): 0.1}
    hours = hours_of(long=1000, unknown=float("inf"))
    assert names(by_value(worth, hours)) == ["long", "unknown"]


@pytest.mark.parametrize("order", list(permutations("abcd"))[::5])
def test_the_order_is_that_of_a_plain_search(order: tuple[str, ...]) -> None:
    """The slow way: after each step compare every number that is left, whatever it shares."""
    shared = {"a": ("a",), "b": ("a", "b"), "c": ("c", "d"), "d": ("d",)}
    worth = {needs(*shared[key]): 1.0 + "abcd".index(key) for key in order}
    hours = hours_of(a=3, b=1, c=2, d=5)
    assert [set(step.runs) for step in by_value(worth, hours)] == plain(worth, hours)


def plain(worth: dict[Runs, float], hours: dict[Place, float]) -> list[set[Place]]:
    done, left, found = set[Place](), list(worth), list[set[Place]]()
    while left:
        rates = []
        for runs in left:
            after = done | runs
            gained = sum(worth[other] for other in left if other <= after)
            rates.append(gained / sum(hours[place] for place in runs - done))
        best = left[rates.index(max(rates))]
        found.append(set(best - done))
        done |= best
        left = [runs for runs in left if not runs <= done]
    return found
