"""What a GPU would be asked to do, told without one: see apart.py."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice

import pytest
import torch
from apart import NAME, Anywhere, Apart, device, unwaited

import vicinal.draws
from vicinal.configs import CONFIGS, build, compose
from vicinal.data.split import Data
from vicinal.loop import Loop
from vicinal.run import Run
from vicinal.runtime import Runtime

METHODS = {path.stem for path in (CONFIGS / "method").glob("*.yaml")}
WAITING = {"puzzlemix"}  # its minimum cut is the CPU's


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(vicinal.draws, "Generator", Anywhere)
    with device():
        yield


def run(method: str) -> Run:
    settings = "dataset=digits", "model=wrn10_2", "schedule.batch_size=4", f"method={method}"
    return build(compose(*settings))


def digits(target: str) -> Data:
    data = run("erm").dataset.load()
    return replace(data, unlabelled=data.test).to(target)


def loop(method: str, target: str, monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setattr(Runtime, "target", target)
    return run(method).loop(digits(target))


def weights(trained: Loop) -> list[torch.Tensor]:
    return [p.held if isinstance(p, Apart) else p for p in trained.model.state_dict().values()]


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("method", sorted(METHODS))
def test_steps_wait_for_nothing_and_are_those_of_the_cpu(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_device = loop(method, NAME, monkeypatch)
    steps = on_device.steps()
    next(steps)  # what is done once may wait
    with nullcontext() if method in WAITING else unwaited():
        next(steps)
    on_device.check()
    monkeypatch.setattr(Runtime, "target", "cpu")
    on_cpu = loop(method, "cpu", monkeypatch)
    for _ in islice(on_cpu.steps(), 2):
        pass
    for found, expected in zip(weights(on_device), weights(on_cpu), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.usefixtures("apart")
def test_an_evaluation_finds_what_it_finds_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for target in (NAME, "cpu"):
        trained = loop("erm", target, monkeypatch)
        trained.check_weights()
        data = digits(target)
        found.append(run("erm").measure(trained.network, data))
    assert found[0] == found[1]
