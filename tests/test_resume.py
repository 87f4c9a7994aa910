"""Training resumes bit for bit, for every file in configs/method: a new one is tested unasked."""

from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
import torch
from composing import METHODS, brief, compose

from vicinal.cli.configs import build
from vicinal.loop import Loop
from vicinal.run import Run

SMALL = (
    "dataset=digits dataset.size=8 dataset.train_per_class=1 dataset.unlabelled=true "
    "model=wrn10_2 runtime=cpu schedule.batch_size=4 optimizer.ema_decay=0.9"
).split()
EPOCHS, STEPS = 2, 3  # of 4, 4 and 2 samples
STOPS = (2, 3, 5)  # in the first epoch, after its last step but before it is closed, in the second


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_is_stopped_again_and_again_ends_as_if_it_never_was(method: str) -> None:
    """What is kept goes through the form of a checkpoint."""
    run: Run = build(compose(*SMALL, f"method={method}"))
    run = replace(run, method=brief(run.method))
    data = run.dataset.load()
    whole, expected = run.loop(data), list[float]()
    for _ in range(EPOCHS):
        for _ in whole.steps():
            pass
        expected.append(whole.close_epoch()["train_loss"])
    stopped, found = run.loop(data), list[float]()
    for stop in STOPS:
        found += advance(stopped, stop)
        kept = saved(stopped.state())
        torch.manual_seed(1234)  # a new process knows nothing of the old generators
        stopped = run.loop(data)
        stopped.rng.cpu.manual_seed(99)
        stopped.restore(torch.load(BytesIO(kept), weights_only=True))
    found += [*advance(stopped, EPOCHS * STEPS), stopped.close_epoch()["train_loss"]]
    assert found == expected
    assert_equal(stopped.state(), whole.state())


def advance(loop: Loop, until: int) -> list[float]:
    """Train up to just after a step; the losses of the epochs that were closed before it."""
    losses = []
    while loop.steps_done < until:
        if loop.steps_done == (loop.epoch + 1) * STEPS:
            losses.append(loop.close_epoch()["train_loss"])
        next(loop.steps())
    return losses


def saved(state: dict[str, Any]) -> bytes:
    content = BytesIO()
    torch.save(state, content)
    return content.getvalue()


def assert_equal(found: Any, expected: Any, where: str = "state") -> None:
    """In every number; but for the seconds, the last of the counters."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            if key == "counters":
                assert found[key][:2] == value[:2], where
            else:
                assert_equal(found[key], value, f"{where}: {key}")
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), where
    elif isinstance(expected, list):
        for index, pair in enumerate(zip(found, expected, strict=True)):
            assert_equal(*pair, f"{where}: {index}")
    else:
        assert found == expected, where
