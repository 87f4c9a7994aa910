"""The learning rates that the papers print, by epoch."""

from math import cos, pi
from random import Random
from typing import Any

import pytest
from wording import says

from vicinal.methods.erm import Erm
from vicinal.schedules import Constant, Cosine, Schedule, Step
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup

STEPS = 391  # an epoch of CIFAR at batch 128


def rates(schedule: Schedule, base: float = 0.1) -> list[float]:
    return [base * schedule.rate(epoch * STEPS, STEPS) for epoch in range(schedule.epochs)]


def test_mixups_schedule_is_a_tenth_after_100_and_150_of_200_epochs() -> None:
    schedule = Schedule(epochs=200, batch_size=128, curve=Step())
    expected = [0.1] * 100 + [0.01] * 50 + [0.001] * 50
    assert rates(schedule) == pytest.approx(expected)
    # The drop falls between two epochs, not a step earlier.
    assert schedule.rate(100 * STEPS - 1, STEPS) == 1
    assert schedule.rate(100 * STEPS, STEPS) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("epochs", "milestones", "drops"),
    [(200, (0.3, 0.6, 0.9), (60, 120, 180)), (90, (1 / 3, 2 / 3, 8 / 9), (30, 60, 80))],
)
def test_milestones_fall_on_the_papers_epochs(
    epochs: int, milestones: tuple[float, ...], drops: tuple[int, ...]
) -> None:
    found = rates(Schedule(epochs=epochs, batch_size=128, curve=Step(milestones)))
    changes = [e for e in range(1, epochs) if found[e] != found[e - 1]]
    assert tuple(changes) == drops


def test_cosine_moves_by_step_or_by_epoch() -> None:
    by_step = Schedule(epochs=10, batch_size=1, curve=Cosine())
    by_epoch = Schedule(epochs=10, batch_size=1, curve=Cosine(per="epoch"))
    for step in range(0, 10 * STEPS, 97):
        assert by_step.rate(step, STEPS) == pytest.approx((1 + cos(pi * step / 10 / STEPS)) / 2)
        whole = (1 + cos(pi * (step // STEPS) / 10)) / 2
        assert by_epoch.rate(step, STEPS) == pytest.approx(whole)


def test_warmup_is_linear_by_step_as_mixups_imagenet_runs() -> None:
    schedule = Schedule(
        epochs=90, batch_size=1024, curve=Constant(), warmup_epochs=5, warmup_from=0.25
    )
    assert 0.4 * schedule.rate(0, STEPS) == pytest.approx(0.1)
    assert 0.4 * schedule.rate(5 * STEPS // 2, STEPS) == pytest.approx(0.25, abs=1e-3)
    assert schedule.rate(5 * STEPS, STEPS) == 1


def test_a_warmup_may_last_some_steps_of_the_first_epoch() -> None:
    """A third of the rate at first, all of it after 500 steps (MMDetection's 1x schedule)."""
    schedule = Schedule(
        epochs=12, batch_size=16, curve=Constant(), warmup_steps=500, warmup_from=1 / 3
    )
    found = [schedule.rate(step, 7330) for step in (0, 1, 250, 499, 500, 501, 7330)]
    ramp = [1 / 3 + 2 / 3 * step / 500 for step in (0, 1, 250, 499)]
    assert found == pytest.approx([*ramp, 1, 1, 1])
    for change in ({"warmup_steps": -1}, {"warmup_steps": 5, "warmup_epochs": 1}):
        with pytest.raises(ValueError, match=says("warmup_steps")):
            Schedule(epochs=2, batch_size=4, curve=Constant(), **change)


def test_the_warmup_method_trains_the_first_epochs_only() -> None:
    first, then = Erm(Identity()), Erm(Mixup())
    schedule = Schedule(
        epochs=9, batch_size=1, curve=Constant(), warmup_method=first, warmup_method_epochs=5
    )
    assert [schedule.method(e, then) for e in range(9)] == [first] * 5 + [then] * 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", -1),
        ("batch_size", 0),
        ("warmup_epochs", 11),
        ("warmup_from", 1.5),
        ("warmup_method_epochs", 3),  # without a method
    ],
)
def test_impossible_schedules_are_refused(key: str, value: float) -> None:
    settings = {"epochs": 10, "batch_size": 2, "curve": Constant()}
    with pytest.raises(ValueError, match=says(f"^{key} ... {value}")):
        Schedule(**{**settings, key: value})


def test_milestones_in_epochs_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=says("^milestones ... 0 ... 1 ... 100 of 200 ... 0.5")):
        Step((100, 150))


def stage_lengths(losses: list[float], patience: int) -> int:
    """How many epochs AWD-LSTM's finetune.py trains on these losses: its condition, literally."""
    best: list[float] = []
    for epoch, loss in enumerate(losses, start=1):
        if len(best) > patience and loss > min(best[:-patience]):
            return epoch
        best.append(loss)
    return len(losses)


@pytest.mark.parametrize("seed", range(20))
def test_a_stage_after_a_restart_ends_when_awd_lstms_fine_tuning_does(seed: int) -> None:
    random = Random(seed)
    losses = [4 + random.gauss(0, 0.1) - 0.01 * epoch for epoch in range(40)]
    schedule = Schedule(epochs=40, batch_size=20, curve=Constant(), restarts=2, patience_epochs=5)
    ends = [n for n in range(1, 41) if schedule.ends(1, losses[:n])]
    assert ends[0] == stage_lengths(losses, 5)
    assert [n for n in range(1, 41) if schedule.ends(0, losses[:n])] == [40]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"restarts": -1}, "^restarts ... at least 0 ... -1"),
        ({"patience_epochs": 0}, "^patience_epochs ... at least 1 ... 0"),
        ({"restarts": 1, "measure_epochs": 2}, "^measure_epochs ... 1 ... restarts ... 2"),
        ({"restarts": 1, "curve": Step()}, "^restarts ... 0 ... 1 ... Step"),
    ],
)
def test_restarts_that_cannot_be_decided_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=says(message)):
        Schedule(**{"epochs": 2, "batch_size": 1, "curve": Constant(), **change})


def test_without_epochs_other_settings_do_not_matter_but_restarts_are_refused() -> None:
    Schedule(epochs=0, batch_size=2, curve=Cosine(), warmup_epochs=5)
    with pytest.raises(ValueError, match=says("^restarts ... epochs=0 ... 1")):
        Schedule(epochs=0, batch_size=2, curve=Constant(), restarts=1)
