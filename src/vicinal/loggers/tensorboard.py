"""TensorBoard: event files in the run's folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vicinal.loggers.evaluations import headlines, named
from vicinal.loggers.logger import Beside, RunIdentity, numbers

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@dataclass
class Tensorboard:
    """Scalars by epoch, the config as text, and at the end what the record has measured."""

    place = "tensorboard"

    _run: RunIdentity | None = field(default=None, init=False, repr=False)
    _writer: "SummaryWriter | None" = field(default=None, init=False, repr=False)
    _epoch: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise ValueError(
                "logger must be none or wandb here, got tensorboard "
                "(the package is missing: pip install tensorboard)"
            )

    def start(self, run: RunIdentity) -> None:
        """Remember the run; the file is opened at the first epoch that is logged."""
        self._run = run

    def log(self, epoch: int, values: dict[str, float]) -> None:
        """Write and flush the values, so that a killed run keeps them."""
        # A resumed run repeats the epochs after its checkpoint: purge those logged before.
        writer = self._writer or self._open(purge_step=epoch)
        for name, value in values.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()
        self._epoch = epoch

    def finish(self, record: dict[str, Any], beside: Sequence[Beside]) -> bool:
        """The record's metrics, under `final/`; what stands for each evaluation; `papers/`."""
        writer = self._writer or self._open(purge_step=None)
        for name, value in numbers(record["metrics"], "final/").items():
            writer.add_scalar(name, value, self._epoch)
        for title, entry in named(record):
            for name, value in headlines(entry).items():
                writer.add_scalar(f"{title}/{name}", value, entry["epoch"])
        for each in beside:
            for name, value in each.numbers.items():
                writer.add_scalar(name, value, self._epoch)
        writer.close()
        self._writer = None
        return True

    def _open(self, purge_step: int | None) -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (optional)

        assert self._run is not None
        folder = str(self._run.folder / "tensorboard")
        self._writer = SummaryWriter(folder, purge_step=purge_step if self._run.resumed else None)
        config = json.dumps(self._run.config, indent=4, sort_keys=True)
        self._writer.add_text("config", f"```\n{config}\n```")
        return self._writer
