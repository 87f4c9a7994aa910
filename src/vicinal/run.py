"""One run: build the network, train it, measure it, record it. Names no method and no dataset."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vicinal.contracts import Method
from vicinal.data.batches import Batches
from vicinal.data.decode.select import decoder_for
from vicinal.data.split import Data, Dataset
from vicinal.draws import Rng, derived_seed
from vicinal.errors import DivergedError, RunError
from vicinal.evaluation.evaluation import Evaluation
from vicinal.loggers.logger import Logger, RunIdentity
from vicinal.loggers.none import Silent
from vicinal.loggers.progress import Progress
from vicinal.loop import Loop, LossNotFiniteError, count_parameters
from vicinal.machine import ranks
from vicinal.machine.runtime import Runtime
from vicinal.machine.signals import stopping
from vicinal.machine.synced_norms import sync_norms
from vicinal.models.normalized import Normalized
from vicinal.optim import Optimizer
from vicinal.schedules import Schedule
from vicinal.storage import records, weights
from vicinal.storage.files import prepare_folder
from vicinal.storage.provenance import provenance
from vicinal.storage.run_folder import (
    RunFolder,
    forget_checkpoints,
    locked,
    read_record,
    write_record,
)
from vicinal.trial import check_network, check_samples, rehearse


@dataclass(frozen=True, kw_only=True)
class Run:
    """The config, constructed: dataset x model x method x optimizer x schedule, and a seed."""

    dataset: Dataset
    model: Callable[..., nn.Module]
    method: Method
    optimizer: Optimizer
    schedule: Schedule
    evaluation: Evaluation
    runtime: Runtime
    logger: Logger
    seed: int = 0
    out: str = "runs"
    results: str = "results"
    reduced: Sequence[str] = ()  # how a table's run was cut down, as overrides

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        with torch.device("meta"):  # the network's own checks, before any data is read
            self.model(num_classes=2, shape=(3, 32, 32))

    def execute(self, config: dict[str, Any], choices: dict[str, str]) -> float:
        """Train to the end, from wherever an earlier attempt stopped; the last test accuracy.

        A training that diverges leaves a record too, which says so, until another attempt succeeds.
        All ranks execute a run together; the first holds its folder, writes and prints.
        """
        ranks.join(self.runtime.target)
        name = records.name(config, self.dataset.name, choices)
        folder = Path(self.out, name, f"seed{self.seed}")
        self._check_ranks(folder)
        with locked(folder) if ranks.is_main() else nullcontext():
            copy = records.published(self.results, name, self.seed)
            record, other = ranks.broadcast_object(
                lambda: (read_record(folder), records.read_if_there(copy))
            )
            data = self._data()
            for known in (record, other):
                records.check_data(known, data.fingerprint)
            if record is None:
                ranks.broadcast_object(lambda: prepare_folder(copy.parent))
                origin = {"id": name.rpartition("/")[2], "name": name, "seed": self.seed}
                origin |= {"config": config, "choices": choices}
                record = self._attempt(folder, origin, data, copy)
            else:
                records.check_evaluation(record, config)
                if ranks.is_main():
                    print(f"finished already: {folder / 'record.json'}")
            if ranks.is_main():
                if "weights" in record:  # not so of a run that was finished before any were kept
                    forget_checkpoints(folder)
                if not copy.exists():  # also when an attempt died before writing it
                    records.publish(copy, record)
        return record["metrics"]["last"]["top1"]

    def build(self, data: Data) -> nn.Module:
        """The network as the method wants it, on its device; its weights follow from the seed."""
        torch.manual_seed(derived_seed(self.seed, "torch"))
        shape = data.train.shape
        body = self.model(num_classes=data.num_classes, shape=shape)
        prepared = self.method.prepare(Normalized(body, data.mean, data.std))
        if self.runtime.sync_batchnorm and ranks.world_size() > 1:
            prepared = sync_norms(prepared)
        model = self.runtime.place(prepared)
        check_network(model, shape, self.runtime.target)
        return self.runtime.compiled(model)

    def loop(self, data: Data) -> Loop:
        """Ready for the first step."""
        methods = {"method": self.method, "schedule.warmup_method": self.schedule.warmup_method}
        check_samples(methods, data.train.shape)
        batches = Batches(
            data.train,
            data.num_classes,
            self.schedule.batch_size,
            data.augment,
            self.seed,
            data.unlabelled,
        )
        if "unlabelled" in self.method.wants and data.unlabelled is None:
            raise ValueError("method needs unlabelled images, and this dataset keeps none")
        model = self.build(data)
        if ranks.rank() > 0:  # layers that draw inside the network draw otherwise on each
            torch.manual_seed(derived_seed(self.seed, "torch", ranks.rank()))
        return Loop(
            model,
            self.method.attach(data),
            batches,
            optimizer=self.optimizer,
            schedule=self.schedule,
            runtime=self.runtime,
            rng=Rng.seeded(self.seed, ranks.rank(), self.runtime.target),
        )

    def trained(self, folder: Path, reading: str = "last") -> tuple[nn.Module, Data]:
        """The network as it was at an epoch that papers report, and the data it was trained on."""
        if (record := read_record(folder)) is None:
            raise RunError(f"{folder} holds no finished run")
        kept = weights.read(folder, record, reading)
        data = self._data()
        records.check_data(record, data.fingerprint)
        model = self.build(data)
        model.load_state_dict(kept)
        return model, data

    def measure(self, model: nn.Module, data: Data, last: bool = True) -> dict[str, float]:
        """The evaluation on every part of the data that tells something of its own by then."""
        splits = data.measured(last)
        with self.runtime.autocast():
            measured = {
                f"{split}_{key}": value
                for split, samples in splits.items()
                for key, value in self.evaluation(model, samples, self.runtime.begin_step).items()
            }
        spoilt = [key for key, value in measured.items() if not isfinite(value)]
        if spoilt:
            raise LossNotFiniteError(f"{', '.join(spoilt)} not finite although the loss was")
        return measured

    def _check_ranks(self, folder: Path) -> None:
        if self.schedule.batch_size % ranks.world_size():
            raise ValueError(
                f"schedule.batch_size must be a multiple of the {ranks.world_size()} ranks, "
                f"got {self.schedule.batch_size} (it is the batch of all ranks together)"
            )
        others = set(ranks.all_gather_object(str(folder))) - {str(folder)}
        if others:
            raise RunError(f"all ranks must train one run, got {folder} and {', '.join(others)}")

    def _data(self) -> Data:
        """Read here, to where it is trained on."""
        self.runtime.start()
        self.runtime.forget()
        with ranks.local_main_first():
            return self.dataset.load().to(self.runtime.target, decoder_for(self.runtime))

    def _attempt(
        self, folder: Path, origin: dict[str, Any], data: Data, copy: Path
    ) -> dict[str, Any]:
        """The record of a training that ends well; of one that diverges, it says that."""
        try:
            record = self._train(folder, origin, data)
        except DivergedError as error:
            if ranks.is_main():
                records.publish(copy, origin | {"failed": str(error)})
            ranks.barrier()  # lest torchrun end the one that writes
            raise
        if ranks.is_main():
            copy.unlink(missing_ok=True)
        return record

    def _train(self, path: Path, origin: dict[str, Any], data: Data) -> dict[str, Any]:
        loop = self.loop(data)
        rehearse(loop)
        seconds = self.runtime.checkpoint_seconds
        folder = RunFolder(path, seconds, data.fingerprint, data.replaced)
        session = {"ranks": ranks.world_size(), **provenance(self.runtime.target)}
        session["runtime"] = self.runtime.summary()
        resumed = folder.resume(loop, session)
        identity = RunIdentity(
            id=f"{origin['id']}-{self.seed}",
            name=f"{origin['name']}/seed{self.seed}",
            group=origin["id"],
            config=origin["config"],
            folder=path,
            resumed=resumed,
        )
        logger = self.logger if ranks.is_main() else Silent()
        logger.start(identity)
        try:
            self._fit(loop, data, folder, logger)
        except LossNotFiniteError as error:
            last = next(iter(folder.checkpoints.paths()), "none")
            raise DivergedError(f"{error}; last good checkpoint: {last}") from error
        record = origin | {
            "metrics": records.metrics(folder.history),
            "timing": records.timing(folder.history, len(data.train)),
            "parameters": count_parameters(loop.model),
            "data": data.summary(),
            "sessions": folder.sessions,
            "curves": records.curves(folder.history),
            "evaluations": {},
        }
        if ranks.is_main():
            words = {key: origin[key] for key in ("name", "seed")}
            record["weights"] = folder.keep_weights(loop.network, words)
            write_record(path, record)  # before the logger, which may wait for a network
        logger.finish(record)
        return record

    def _fit(self, loop: Loop, data: Data, folder: RunFolder, logger: Logger) -> None:
        """To the last epoch, with a checkpoint whenever one is due and at the end."""
        epochs = self.schedule.epochs
        with (
            stopping() as stop,
            Progress(
                epochs=epochs,
                steps_per_epoch=len(loop.batches),
                start_step=loop.steps_done,
                enabled=self.runtime.progress and ranks.is_main(),
            ) as progress,
        ):
            while loop.epoch < epochs:
                for images in loop.steps():
                    progress.step(images)
                    if folder.asks(loop):
                        folder.save_if_due(loop)
                        stop.obey(partial(folder.save, loop))
                values = loop.close_epoch()
                if self.schedule.measured(loop.epoch):
                    values |= self.measure(loop.network, data, last=loop.epoch == epochs)
                    folder.log({"epoch": loop.epoch, **values}, loop.network)
                    logger.log(loop.epoch, values)
                    progress.epoch(loop.epoch, values)
                if loop.epoch == epochs:
                    folder.save(loop)
                else:
                    folder.save_if_due(loop)
