"""What fits into some hours on some GPUs."""

import random
from math import inf

import pytest

from vicinal.tables.budget import Budget, Load, Stages, makespan
from vicinal.tables.value import Place


def test_a_launch_takes_the_gpu_that_is_free_first() -> None:
    loads = [Load(hours) for hours in (3, 1, 1, 2)]
    assert makespan([loads], 1) == 7
    assert makespan([loads], 2) == 4  # 3 beside 1, 1, 2
    assert makespan([loads], 4) == 3


def test_a_stage_waits_for_the_one_before() -> None:
    assert makespan([[Load(3), Load(1)], [Load(2), Load(2)]], 2) == 5
    assert makespan([[], [Load(2)]], 1) == 2
    assert makespan([], 1) == 0


def test_a_run_of_several_gpus_waits_for_all_of_them() -> None:
    assert makespan([[Load(3), Load(8, gpus=2), Load(1)]], 2) == 3 + 4 + 1
    assert makespan([[Load(8, gpus=3)]], 2) == inf


class Plan:
    """Runs that are launched in one stage, in the order of their names."""

    def __init__(self, hours: dict[Place, float]) -> None:
        self.hours = hours

    def __call__(self, kept: set[Place]) -> Stages:
        return [[Load(self.hours[place]) for place in sorted(kept)]]


def kept(budget: Budget, worth: dict[frozenset[Place], float], hours: dict[Place, float]) -> str:
    found = budget.kept(worth, hours, Plan(hours))
    return "".join(sorted(name for name, _ in found))


def alone(**worth: float) -> dict[frozenset[Place], float]:
    return {frozenset({(name, 0)}): value for name, value in worth.items()}


def lengths(**hours: float) -> dict[Place, float]:
    return {(name, 0): value for name, value in hours.items()}


def test_the_most_valuable_runs_are_kept() -> None:
    worth, hours = alone(a=1, b=5, c=1, d=3), lengths(a=2, b=5, c=9, d=3)
    assert kept(Budget(100), worth, hours) == "abcd"
    assert kept(Budget(8), worth, hours) == "bd"
    assert kept(Budget(7.5), worth, hours) == "ab"  # d is worth more than a, and too long beside b
    assert kept(Budget(8, gpus=2), worth, hours) == "abd"  # c is longer than the time
    assert kept(Budget(1), worth, hours) == ""


def test_a_run_is_not_kept_without_those_that_it_needs() -> None:
    worth = {frozenset({("a", 0), ("b", 0)}): 9.0, frozenset({("c", 0)}): 1.0}
    hours = lengths(a=3, b=3, c=2)
    assert kept(Budget(5), worth, hours) == "c"
    assert kept(Budget(6), worth, hours) == "ab"


def test_what_a_step_shares_with_one_that_was_left_out_is_counted_again() -> None:
    """The backbone of a detector that is too long may still serve a shorter one."""
    worth = {frozenset({("a", 0), ("b", 0)}): 90.0, frozenset({("a", 0), ("c", 0)}): 1.0}
    hours = lengths(a=3, b=9, c=2)
    assert kept(Budget(5), worth, hours) == "ac"
    assert kept(Budget(4), worth, hours) == ""


def test_a_run_is_kept_alone_if_what_would_make_it_more_valuable_does_not_fit() -> None:
    worth = {frozenset({("a", 0), ("b", 0)}): 9.0, frozenset({("a", 0)}): 1.0}
    assert kept(Budget(3), worth, lengths(a=3, b=3)) == "a"


def test_a_run_of_unknown_length_is_left_out() -> None:
    assert kept(Budget(1e9), alone(a=1, b=1), lengths(a=inf, b=2)) == "b"


@pytest.mark.parametrize("gpus", [1, 3])
def test_what_is_kept_ends_in_time_and_nothing_more_would(gpus: int) -> None:
    draws = random.Random(gpus)
    names = [f"run{number:02}" for number in range(40)]
    hours = {(name, 0): draws.uniform(0.5, 5) for name in names}
    worth = {frozenset({place}): draws.random() for place in hours}
    budget, plan = Budget(8, gpus), Plan(hours)
    found = budget.kept(worth, hours, plan)
    assert makespan(plan(found), gpus) <= 8
    for place in hours.keys() - found:
        longer = sum(hours[each] for each in found) + hours[place] > 8 * gpus
        assert longer or makespan(plan(found | {place}), gpus) > 8
