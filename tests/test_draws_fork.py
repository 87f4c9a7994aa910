"""Rng.fork: independent generators for parts of the work."""

import pytest
import torch
from torch import Tensor

from vicinal.draws import Rng


def drawn(rng: Rng) -> Tensor:
    """What each of the three generators gives next."""
    return torch.stack([torch.rand(8, generator=g) for g in (rng.cpu, rng.device, rng.shared)])


def test_a_fork_depends_on_the_seed_and_the_key():
    assert torch.equal(drawn(Rng.seeded(0).fork("a", 1)), drawn(Rng.seeded(0).fork("a", 1)))
    assert not torch.equal(drawn(Rng.seeded(0).fork("a", 1)), drawn(Rng.seeded(1).fork("a", 1)))


@pytest.mark.parametrize(
    ("one", "other"), [(("a",), ("b",)), ((1,), ("1",)), (("a", "b"), ("ab",)), ((), (0,))]
)
def test_forks_of_different_keys_differ(one, other):
    forks = (drawn(Rng.seeded(0).fork(*key)) for key in (one, other))
    assert not (next(forks) == next(forks)).any()


def test_a_fork_does_not_draw_what_its_origin_draws():
    assert not (drawn(Rng.seeded(0).fork("a")) == drawn(Rng.seeded(0))).any()


def test_the_generators_of_a_fork_differ():
    cpu, device, shared = drawn(Rng.seeded(0).fork("a"))
    assert not ((cpu == device) | (cpu == shared) | (device == shared)).any()


def test_a_fork_does_not_depend_on_what_was_drawn_before():
    rng = Rng.seeded(0)
    first = drawn(rng.fork("a"))
    drawn(rng)
    drawn(rng.fork("b"))
    assert torch.equal(drawn(rng.fork("a")), first)


def test_a_fork_draws_nothing_from_its_origin():
    rng = Rng.seeded(0)
    rng.fork("a")
    assert torch.equal(drawn(rng), drawn(Rng.seeded(0)))


def test_the_forks_of_all_ranks_are_one():
    assert torch.equal(drawn(Rng.seeded(0, rank=3).fork("a")), drawn(Rng.seeded(0).fork("a")))


def test_a_fork_of_restored_generators_is_that_of_the_saved_ones():
    saved, other = Rng.seeded(0), Rng.seeded(1)
    drawn(saved)
    other.restore(saved.state())
    assert torch.equal(drawn(other.fork("a")), drawn(Rng.seeded(0).fork("a")))


def test_forks_of_forks_are_known_by_the_whole_path():
    paths = [("a", "b"), ("b", "a"), ("a", "a")]
    drawn_there = [drawn(Rng.seeded(0).fork(one).fork(two)) for one, two in paths]
    assert len({tuple(each.flatten().tolist()) for each in drawn_there}) == 3
    flat = drawn(Rng.seeded(0).fork("a", "b"))
    assert not torch.equal(flat, drawn_there[0])
