"""Help and messages show lines as this user can type them."""

import sys
from types import SimpleNamespace

import pytest

from vicinal.cli.typed import typed


@pytest.mark.parametrize(
    ("program", "module", "command"),
    [
        ("train.py", None, "python train.py"),
        ("../a checkout/train.py", None, "python '../a checkout/train.py'"),
        ("/usr/bin/vicinal-train", None, "vicinal-train"),
        ("vicinal train", None, "vicinal train"),
        ("vicinal tables", None, "vicinal train"),
        ("scripts/fetch_data.py", None, "python train.py"),
        ("/x/scripts/fetch_data.py", None, "python /x/train.py"),
        ("/x/src/vicinal/train.py", "vicinal.train", "python -m vicinal.train"),
        ("/x/bin/pytest", "pytest.__main__", "vicinal train"),
        ("-c", None, "vicinal train"),
    ],
)
def test_the_command_is_the_one_that_was_typed(
    program: str, module: str | None, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "seed=3"])
    spec = None if module is None else SimpleNamespace(name=module)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    assert typed() == command
