"""Train one network from its last checkpoint to its last epoch, and measure it on the way."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import isfinite

from torch import nn

from vicinal.data.dataset import RunData
from vicinal.errors import LossNotFiniteError
from vicinal.evaluation.evaluation import Measure
from vicinal.loggers.logger import Logger
from vicinal.loggers.progress import Progress
from vicinal.loop import Loop
from vicinal.machine import ranks
from vicinal.machine.runtime import Runtime
from vicinal.machine.signals import Stop, stopping
from vicinal.storage import records
from vicinal.storage.run_folder import RunFolder


@dataclass(frozen=True)
class Fit:
    """A loop, and where its epochs are kept and told. All ranks make the same calls."""

    loop: Loop
    data: RunData
    clean: Measure
    folder: RunFolder
    logger: Logger

    def __call__(self) -> None:
        """Train to the last epoch, with a checkpoint whenever one is due and at the end.

        Without epochs, the network is measured as it is.
        """
        loop, batches = self.loop, self.loop.batches
        if not loop.schedule.epochs:
            self._log(0, self._measured(last=True))
            return
        if ranks.is_main():
            for line in self._notices():
                print(line)
        with (
            stopping() as stop,
            Progress(
                epochs=loop.schedule.most_epochs,
                steps_per_epoch=batches.steps(0),
                start_step=loop.epoch * batches.steps(0) + loop.steps_in_epoch,
                unit=batches.unit,
                enabled=loop.runtime.progress and ranks.is_main(),
            ) as progress,
        ):
            while not self._ended():
                self._epoch(stop, progress)

    def _epoch(self, stop: Stop, progress: Progress) -> None:
        """Train through the rest of an epoch, and measure; restart where a stage ends."""
        loop, folder = self.loop, self.folder
        for samples in loop.steps():
            progress.step(samples)
            if folder.asks(loop):
                folder.save_if_due(loop)
                stop.obey(partial(folder.save, loop), self._place)
        if values := loop.close_epoch():
            values |= self._measured(last=loop.epoch == loop.schedule.epochs)
            self._log(loop.epoch, values)
            progress.epoch(loop.epoch, values)
        if self._ended():
            folder.save(loop)
        elif self._stage_ends():
            loop.restart(folder.best.get("best_valid"))
        if not self._ended() and (values or folder.asks(loop)):
            folder.save_if_due(loop)
        if values:
            stop.obey(partial(folder.save, loop), self._place)

    def _notices(self) -> Iterator[str]:
        """What a user would not expect: where a resumed run goes on, a batch of everything."""
        loop, samples = self.loop, len(self.data.train)
        if self.folder.saved_at is not None:
            yield f"resumed {self._place()} (checkpoint of {self.folder.saved_at})"
        if loop.batches.batch_size > samples:
            yield (
                f"schedule.batch_size={loop.batches.batch_size} is more than the {samples} "
                "training samples: every epoch is one step"
            )

    def _place(self) -> str:
        """How far the training is, after "stopped" or "resumed"."""
        loop, last = self.loop, self.loop.schedule.most_epochs
        done = loop.steps_in_epoch
        if not done:
            return f"after epoch {loop.epoch} of {last}"
        steps = loop.batches.steps(loop.epoch)
        return f"in epoch {loop.epoch + 1} of {last}, after step {done} of {steps}"

    def _measured(self, last: bool) -> dict[str, float]:
        return measured(self.clean, self.loop.network, self.data, self.loop.runtime, last)

    def _log(self, epoch: int, values: dict[str, float]) -> None:
        self.folder.log({"epoch": epoch, **values}, self.loop.network)
        self.logger.log(epoch, values)

    def _ended(self) -> bool:
        """Whether the last stage of the schedule is complete."""
        return self.loop.stage == self.loop.schedule.restarts and self._stage_ends()

    def _stage_ends(self) -> bool:
        """Whether the epochs so far complete the current stage of the schedule."""
        loop, schedule = self.loop, self.loop.schedule
        if not schedule.restarts:
            return loop.epoch == schedule.epochs
        epochs = (epoch for epoch in self.folder.history if epoch["stage"] == loop.stage)
        losses = [-records.score(epoch, "valid") for epoch in epochs]
        return bool(losses) and schedule.ends(loop.stage, losses)


def measured(
    clean: Measure, model: nn.Module, data: RunData, runtime: Runtime, last: bool = True
) -> dict[str, float]:
    """`clean` of every split that is measured at this point."""
    splits, network = data.measured(last), runtime.evaluated(model)
    with runtime.autocast():
        found = {
            f"{split}_{key}": value
            for split, samples in splits.items()
            for key, value in clean(network, samples).items()
        }
    failed = [key for key, value in found.items() if not isfinite(value)]
    if failed:
        raise LossNotFiniteError(f"{', '.join(failed)} not finite although the loss was")
    return found
