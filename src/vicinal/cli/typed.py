"""How a user starts runs, so that help and messages show lines that can be typed again."""

import shlex
import sys
from pathlib import Path


def typed() -> str:
    """The command that starts runs, as typed: `python train.py`, `vicinal-train`, `vicinal train`.

    Of another command it is the one beside it: `vicinal train` for `vicinal tables`, and
    `python train.py` for `python scripts/tables.py`.
    """
    program = Path(sys.argv[0] if sys.argv else "")
    module = getattr(sys.modules["__main__"], "__spec__", None)
    if module is not None and module.name == "vicinal.train":
        return "python -m vicinal.train"
    if program.name == "vicinal-train":
        return program.name
    if program.name == "train.py":
        return f"python {shlex.quote(str(program))}"
    if program.parent.name == "scripts":
        return f"python {shlex.quote(str(program.parents[1] / 'train.py'))}"
    return "vicinal train"
