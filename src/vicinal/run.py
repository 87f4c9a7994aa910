"""One run: build the network, train it, measure it, record it. No method or dataset is named."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vicinal.cli.sweeps import Search
from vicinal.contracts import Method
from vicinal.data.dataset import Dataset, RunData
from vicinal.data.decode.select import decoder_for
from vicinal.draws import Rng, derived_seed
from vicinal.errors import RunError
from vicinal.evaluation.evaluation import Evaluation, Measure
from vicinal.evaluation.finished import Finished
from vicinal.loggers.logger import Logger
from vicinal.loggers.none import Silent
from vicinal.loop import Loop
from vicinal.machine import ranks
from vicinal.machine.runtime import Runtime
from vicinal.machine.synced_norms import sync_norms
from vicinal.models.init import without_weights
from vicinal.optim import Optimizer
from vicinal.schedules import Constant, Schedule
from vicinal.storage import records, weights
from vicinal.storage.files import prepare_folder
from vicinal.storage.names import check_moved
from vicinal.storage.run_folder import (
    locked,
    read_record,
)
from vicinal.storage.starts import Start, Weights, begin
from vicinal.storage.told import Told
from vicinal.tables import ending
from vicinal.training.attempt import Attempt
from vicinal.training.fit import measured
from vicinal.training.trial import (
    check_measures,
    check_network,
    check_parts,
    check_ranks,
    check_reports,
    check_search,
    check_sources,
)

# Of a loop that is timed: as many epochs as no clock waits for, and a rate at which no weight moves
# far enough for a loss that is not finite. Neither changes how long a step takes.
ENDLESS, STILL = 10**6, 1e-12


@dataclass(frozen=True, kw_only=True)
class Run:
    """A constructed config: dataset x model x method x optimizer x schedule, and a seed."""

    dataset: Dataset
    model: Callable[..., nn.Module]
    method: Method
    optimizer: Optimizer
    schedule: Schedule
    clean: Measure  # of every split, while it trains
    evaluation: Mapping[str, Evaluation]  # measured after training, by name
    runtime: Runtime
    logger: Logger
    init: Start | None = None  # the first weights, in place of random ones
    seed: int = 0
    out: str = "runs"
    results: str = "runs/results"
    reports: Sequence[str] = ("last",)  # on whose weights evaluations are measured
    reduced: Sequence[str] = ()  # the overrides that cut a table's run down

    def __post_init__(self) -> None:
        check_parts({field.name: getattr(self, field.name) for field in fields(self)})
        for report in self.reports:
            if report not in weights.REPORTS:
                known = ", ".join(weights.REPORTS)
                raise ValueError(f"reports must be some of {known}, got {report}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        self._probe  # noqa: B018 (the network's own checks, before any data is read)

    @cached_property
    def _probe(self) -> nn.Module:
        """A network of the run's kind, of no particular size and without weights."""
        with without_weights():
            return self.model(num_classes=2, shape=(3, 32, 32))

    def execute(
        self, config: dict[str, Any], choices: dict[str, str], search: Search | None = None
    ) -> float:
        """Train to the end, continuing an earlier attempt; return what a `search` optimises.

        That is the last accuracy on the hold-out, or on test data if there is none; of a language
        model it is the perplexity, of a detector the average precision.

        A training that diverges leaves a record that says so, until another attempt succeeds.
        All ranks execute a run together; rank zero locks its folder, writes and prints.
        """
        ranks.join(self.runtime.target)
        name = records.name(config, self.dataset.name, choices)
        check_moved(Path(self.out), name)
        folder = Path(self.out, name, f"seed{self.seed}")
        check_ranks(self.schedule.batch_size, self.runtime.accumulate, folder)
        with locked(folder) if ranks.is_main() else nullcontext():
            copy = records.published(self.results, name, self.seed)
            record, other = ranks.broadcast_object(
                lambda: (read_record(folder), records.read_if_there(copy))
            )
            data = self._data()
            for known in (record, other):
                records.check_data(known, data.fingerprint)
            check_measures(self.clean, self.evaluation, data)
            check_search(search, self.dataset, self.clean, data)
            check_reports(self.reports if self.evaluation else (), self.schedule.restarts, data)
            if record is None:
                check_sources(self.evaluation, Path(self.out))
            told = Told(self.logger if ranks.is_main() else Silent(), folder)
            trained = record is None
            if record is None:
                ranks.broadcast_object(lambda: prepare_folder(copy.parent))
                origin = {"id": name.rpartition("/")[2], "name": name, "seed": self.seed}
                origin |= {"config": config, "choices": choices}
                attempt = Attempt(self.loop, self.clean, self.init, Path(self.out), told.logger)
                record = attempt(data, folder, copy, origin)
            else:
                self._check_finished(record, config)
                if ranks.is_main():
                    print(f"finished already: {folder / 'record.json'}")
            finished = self._finished(folder, record, data)
            finished.tidy()
            lacking = finished.lacking(config["evaluation"], self.reports)
            logged = trained or told.reopen(record, growing=bool(lacking))
            finished.measure(lacking, self.evaluation, config["evaluation"])
            if ranks.is_main():
                beside = ending.tell(record, folder, self.results, bool(logged or lacking))
                if logged:
                    told.finish(record, beside)
        return records.objective(record)

    def _check_finished(self, record: dict[str, Any], config: dict[str, Any]) -> None:
        """Refuse a finished run that began with or was measured with something else."""
        records.check_clean(record, config)
        if self.init is not None:
            records.check_start(record, self.init.mark(Path(self.out)))

    def build(self, data: RunData, start: Weights | None = None) -> nn.Module:
        """The network as the method wants it, on its device.

        Its weights are those of `start`, or random ones, which depend on the seed.
        """
        torch.manual_seed(derived_seed(self.seed, "torch"))
        data.check_network(self._probe)
        body = self.model(num_classes=data.num_classes, shape=data.shape)
        network = data.network(body)
        if start is not None and self.init is not None:
            begin(network, start, self.init.classifier)
        prepared = self.method.prepare(network)
        if self.runtime.sync_batchnorm and ranks.world_size() > 1:
            prepared = sync_norms(prepared)
        model = self.runtime.place(prepared)
        check_network(model, data.zeros(self.runtime.target))
        return self.runtime.compiled(model)

    def loop(self, data: RunData, start: Weights | None = None) -> Loop:
        """Ready for the first step."""
        methods = {"method": self.method, "schedule.warmup_method": self.schedule.warmup_method}
        for key, method in methods.items():
            if method is not None:
                data.check_method(key, method)
        batches = data.batches(self.schedule.batch_size, self.seed)
        if "unlabelled" in self.method.wants and batches.unlabelled is None:
            raise ValueError("method needs unlabelled images, and this dataset keeps none")
        model = self.build(data, start)
        if ranks.rank() > 0:  # layers that draw inside the network must not draw alike
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

    def timed_loop(self, data: RunData, method: Method | None = None) -> Loop:
        """A loop whose steps are timed: by the run's method, or by another in its place.

        Its network is a new one, as that method wants it.
        """
        schedule = replace(
            self.schedule,
            epochs=ENDLESS,
            curve=Constant(),
            warmup_epochs=0,
            warmup_method=None,
            warmup_method_epochs=0,
            restarts=0,
        )
        timed = replace(
            self,
            method=method or self.method,
            optimizer=replace(self.optimizer, lr=STILL),
            schedule=schedule,
            init=None,
        )
        return timed.loop(data)

    def finished(self, folder: Path) -> Finished:
        """A finished run in its folder, for evaluations."""
        if (record := read_record(folder)) is None:
            raise RunError(f"{folder} holds no finished run")
        data = self._data()
        records.check_data(record, data.fingerprint)
        check_measures(self.clean, self.evaluation, data)
        return self._finished(folder, record, data)

    def _finished(self, folder: Path, record: dict[str, Any], data: RunData) -> Finished:
        copy = records.published(self.results, record["name"], record["seed"])
        loop = partial(self.timed_loop, data)
        return Finished(folder, copy, record, data, self.runtime, partial(self.build, data), loop)

    def measure(self, model: nn.Module, data: RunData) -> dict[str, float]:
        """`clean` of every split that is measured after the last epoch."""
        return measured(self.clean, model, data, self.runtime)

    def _data(self) -> RunData:
        """The data, on the device where it is trained on."""
        self.runtime.start()
        self.runtime.forget()
        with ranks.local_main_first():
            return self.dataset.load().to(self.runtime.target, decoder_for(self.runtime))
