"""train.py, except that finished runs keep their checkpoints so that these can be compared."""

from pathlib import Path

from vicinal.evaluation import finished
from vicinal.train import main


def keep(folder: Path) -> None:
    """Replaces `forget_checkpoints`."""


if __name__ == "__main__":
    finished.forget_checkpoints = keep
    main()
