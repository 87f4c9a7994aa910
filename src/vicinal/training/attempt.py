"""One attempt at a run: from its first weights or its last checkpoint to its record."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vicinal.data.dataset import RunData
from vicinal.errors import DivergedError, LossNotFiniteError
from vicinal.evaluation.evaluation import Measure
from vicinal.loggers.logger import Logger, RunIdentity
from vicinal.loop import Loop
from vicinal.machine import ranks
from vicinal.optim import num_trained
from vicinal.storage import records
from vicinal.storage.provenance import provenance
from vicinal.storage.run_folder import RunFolder, write_record
from vicinal.storage.starts import Start, Weights
from vicinal.training.fit import Fit
from vicinal.training.trial import rehearse

Record = dict[str, Any]


@dataclass(frozen=True)
class Attempt:
    """What an attempt needs beside the data. All ranks make the same calls; rank zero writes."""

    loop: Callable[[RunData, Weights | None], Loop]
    clean: Measure
    init: Start | None
    out: Path  # where other runs lie, with whose weights this one may begin
    logger: Logger

    def __call__(self, data: RunData, folder: Path, copy: Path, origin: Record) -> Record:
        """Train and return the record; a training that diverges publishes one that says so."""
        try:
            record = self._train(data, folder, origin)
        except DivergedError as error:
            if ranks.is_main():
                records.publish(copy, origin | {"failed": str(error)})
            ranks.barrier()  # torchrun would end rank zero while it writes
            raise
        if ranks.is_main():
            copy.unlink(missing_ok=True)
        return record

    def _train(self, data: RunData, path: Path, origin: Record) -> Record:
        start = self._start()
        loop = self.loop(data, start)
        rehearse(loop)
        began = {} if start is None else {"init": dict(start.origin)}
        marks = data.fingerprint | {key: each["sha256"] for key, each in began.items()}
        folder = RunFolder(path, loop.runtime.checkpoint_seconds, marks, data.replaced)
        session = {"ranks": ranks.world_size(), **provenance(loop.runtime.target)}
        session["runtime"] = loop.runtime.summary()
        resumed = folder.resume(loop, session)
        self.logger.start(RunIdentity.of(origin, path, resumed))
        try:
            Fit(loop, data, self.clean, folder, self.logger)()
        except LossNotFiniteError as error:
            last = next(iter(folder.checkpoints.paths()), "none")
            raise DivergedError(f"{error}; last good checkpoint: {last}") from error
        record = origin | {
            "metrics": records.metrics(folder.history),
            "timing": records.timing(folder.history, len(data.train), loop.batches.unit),
            "parameters": num_trained(loop.model),
            "data": data.summary(),
            "sessions": folder.sessions,
            "curves": records.curves(folder.history),
            "evaluations": {},
            **began,
        }
        if ranks.is_main():
            words = {key: origin[key] for key in ("name", "seed")}
            record["weights"] = folder.keep_weights(loop.network, words)
            write_record(path, record)  # before the logger, which may wait for a network
        return record

    def _start(self) -> Weights | None:
        """The weights to begin with; rank zero reads them."""
        if self.init is None:
            return None
        return ranks.broadcast_object(partial(self.init.read, self.out))
