"""What a GPU would be asked to do, told without one: see apart.py."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from apart_steps import DO_NOT_WAIT, VICINITIES, WAIT
from composing import FIRST, OTHERS
from every_attack import ATTACKS

STEPS = Path(__file__).with_name("apart_steps.py")


def findings(methods: list[str]) -> dict[str, Any]:
    """Of one process for all of them: it takes seconds to start."""
    command = [sys.executable, str(STEPS), *methods]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return findings(FIRST)


@pytest.mark.parametrize("method", FIRST)
def test_steps_wait_for_nothing_and_are_those_of_the_cpu(
    method: str, found: dict[str, Any]
) -> None:
    """One method of each class; so are evaluations."""
    assert found["methods"][method] is None


@pytest.mark.slow
def test_no_step_waits_whatever_the_method_holds() -> None:
    assert findings(OTHERS)["methods"] == dict.fromkeys(OTHERS)


@pytest.mark.parametrize("name", VICINITIES)
def test_vicinities_send_nothing_as_large_as_the_batch(name: str, found: dict[str, Any]) -> None:
    assert found["vicinities"][name] is None


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_wait_for_nothing_and_find_what_they_find_on_the_cpu(
    name: str, found: dict[str, Any]
) -> None:
    assert found["attacks"][name] is None


def test_what_waits_is_told(found: dict[str, Any]) -> None:
    assert [line for line, waits in found["waiting"].items() if waits] == WAIT
    assert [line for line, waits in found["waiting"].items() if not waits] == DO_NOT_WAIT


def test_meeting_a_tensor_of_the_cpu_is_an_error(found: dict[str, Any]) -> None:
    assert "expected all tensors on one device" in found["meeting"]
