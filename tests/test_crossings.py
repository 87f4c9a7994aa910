"""A run may be begun on one machine and go on in another form: see crossings.py."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from crossings import FORMS

from vicinal.draws import Rng, all_states, restore_all

SCRIPT = Path(__file__).with_name("crossings.py")
ROUNDING = {"fp32": 1e-5, "bf16": 0.2}


@pytest.mark.parametrize("kind", ["devices", pytest.param("ranks", marks=pytest.mark.slow)])
def test_runs_go_on_in_every_other_form(kind: str) -> None:
    """As they would have in one: on devices, in layouts and precisions, on more and fewer ranks."""
    command = [sys.executable, str(SCRIPT), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    strayed = json.loads(done.stdout.splitlines()[-1])
    for begun, other in product(FORMS[kind], FORMS[kind]):
        coarse = "bf16" if "bf16" in (begun.precision, other.precision) else "fp32"
        assert strayed[str(begun)][str(other)] < ROUNDING[coarse], (str(begun), str(other))


def test_draws_on_a_device_of_another_kind_are_seeded_afresh() -> None:
    """By the seed and the step, so that the run that goes on there can be repeated."""
    rng = Rng.seeded(0)
    torch.rand(5, generator=rng.device)
    taken = all_states(rng)
    expected = {name: draw(getattr(rng, name)) for name in ("cpu", "shared")}
    moved = taken | {"device": "elsewhere", "cuda_rng": torch.zeros(16, dtype=torch.uint8)}
    found = []
    for _ in range(2):
        other = Rng.seeded(7)
        restore_all(other, moved, taken["rng"]["shared"], seed=3, rank=0)
        assert {name: draw(getattr(other, name)) for name in ("cpu", "shared")} == expected
        found.append(draw(other.device))
    assert found[0] == found[1] != draw(rng.device)


def draw(generator: torch.Generator) -> float:
    return torch.rand((), generator=generator).item()
