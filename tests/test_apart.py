"""What a GPU would be asked to do, told without one: see apart.py."""

import json
import subprocess
import sys
from pathlib import Path
from pkgutil import iter_modules

import pytest

from vicinal import vicinities
from vicinal.cli.configs import CONFIGS

STEPS = Path(__file__).with_name("apart_steps.py")
METHODS = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))


@pytest.mark.parametrize("part", range(4))
def test_steps_wait_for_nothing_and_are_those_of_the_cpu(part: int) -> None:
    """So are evaluations; a quarter of the methods a process."""
    methods = METHODS[part::4]
    command = [sys.executable, str(STEPS), *methods]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == dict.fromkeys(methods)


def test_vicinities_send_nothing_as_large_as_the_batch() -> None:
    names = [
        module.name for module in iter_modules(vicinities.__path__) if module.name != "compose"
    ]
    code = f"""
from importlib import import_module
from unittest.mock import patch

import torch
from apart import NAME, Anywhere, Device, unwaited

import vicinal.draws
from vicinal.draws import Rng

with patch.object(vicinal.draws, "Generator", Anywhere), Device():
    x, y = torch.rand(256, 3, 32, 32).to(NAME), torch.eye(256).to(NAME)
    for name in {names}:
        module = import_module("vicinal.vicinities." + name)
        (made,) = (v for k, v in vars(module).items() if k.lower() == name.replace("_", ""))
        vicinity = made()
        rng = Rng.seeded(0, device=NAME)
        vicinity(x, y, rng)  # fills its tables
        with unwaited():
            vicinity(x, y, rng)
        print(name)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=STEPS.parent)
    assert done.stdout.split() == names, done.stderr


def test_what_waits_is_told() -> None:
    waiting = [
        "there.sum().item()",
        "here.to(NAME)",
        "there.to('cpu', non_blocking=True)",
        "there[there > 1]",
        "there[torch.tensor([1])]",
        "there.nonzero()",
        "torch.zeros(16385).to(NAME, non_blocking=True)",
    ]
    fine = ["here.to(NAME, non_blocking=True) + there", "there[there.long()]", "there * 2"]
    fine += ["torch.zeros(16384).to(NAME, non_blocking=True)"]
    code = f"""
import torch
from apart import NAME, Device, WaitsError, unwaited

here = torch.arange(4.0)
with Device():
    there = here.to(NAME)
    for what in {[*waiting, *fine]}:
        try:
            with unwaited():
                eval(what)
        except WaitsError:
            print(what)
    try:
        there + here
    except RuntimeError:
        print("two devices")
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=STEPS.parent)
    assert done.stdout.splitlines() == [*waiting, "two devices"]
