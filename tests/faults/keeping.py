"""train.py, except that finished runs keep their checkpoints so that these can be compared."""

from pathlib import Path

import vicinal.run
from vicinal.train import main


def keep(folder: Path) -> None:
    """Replaces `forget_checkpoints`."""


if __name__ == "__main__":
    vicinal.run.forget_checkpoints = keep
    main()
