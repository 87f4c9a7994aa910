"""The loop that trains classifiers, language models, detectors: its only backward and step.

What is none of these has a loop of its own, `vicinal.tasks.*.loop`.
"""

from collections.abc import Iterator, Mapping
from math import isfinite
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from vicinal.contracts import Loss, Memory, Method, Rows
from vicinal.data.batches import Extent, Feed
from vicinal.draws import Rng, all_states, derived_seed, restore_all
from vicinal.errors import LossNotFiniteError
from vicinal.machine import ranks
from vicinal.machine.exchange import GradientExchange
from vicinal.machine.pieces import Piece, Pieces
from vicinal.machine.runtime import Runtime
from vicinal.optim import Average, Optimizer, lay_out_like_weights
from vicinal.schedules import Schedule

CHECK_EVERY = 50  # steps between two checks of the loss, each of which waits for the device


class Loop:
    """Trains one network. Owns every draw; `state()` has everything a resumed run needs.

    With several ranks, each processes its shard of every batch.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        batches: Feed,
        *,
        optimizer: Optimizer,
        schedule: Schedule,
        runtime: Runtime,
        rng: Rng,
    ) -> None:
        ranks.broadcast_parameters(model)
        self.exchange = GradientExchange(model)
        self.model, self.method, self.batches = model, method, batches
        self.settings, self.optimizer = optimizer, optimizer(model)
        self.schedule, self.runtime, self.rng = schedule, runtime, rng
        self.pieces = Pieces(model, rng, runtime.accumulate)
        self.average: Average | None = None
        self.memory = Memory()
        self.epoch = 0  # epochs completed
        self.stage = 0  # how often the training was restarted
        self.steps_done = 0
        self.seconds = 0.0  # of training, in this epoch
        self.loss_sum = 0.0  # over this epoch's samples, up to the last check
        self.losses: list[tuple[Tensor, int]] = []  # since that check: loss, number of samples

    @property
    def network(self) -> nn.Module:
        """The network to evaluate: the trained one, or its average where one is kept."""
        return self.model if self.average is None else self.average.network

    def steps(self) -> Iterator[int]:
        """Train through the rest of this epoch, yielding the batch's samples after every step."""
        self.model.train()
        first, since = self.steps_in_epoch, perf_counter()
        for x, y, rows in self.batches.epoch(self.epoch, first, self.rng):
            extent = self.batches.extent(self.epoch, self.steps_in_epoch)
            self.step(self.runtime.begin_step(x), y, rows, extent)
            if self.steps_done % CHECK_EVERY == 0:
                self.check()
            self.seconds, since = self.seconds + perf_counter() - since, perf_counter()
            yield extent.samples
            since = perf_counter()

    @property
    def steps_in_epoch(self) -> int:
        """Steps done of the current epoch."""
        return self.steps_done - self.batches.first(self.epoch)

    def step(self, x: Tensor, y: Any, rows: Rows, extent: Extent) -> None:
        """Update the weights once, for the mean loss over the samples of all ranks."""
        rate = self._rate(self.steps_in_epoch) * extent.rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate
            for parameter in group["params"]:
                parameter.grad = None  # zero_grad() calls the profiler: 6 % of an MLP's step
        self.exchange.begin()
        loss = torch.zeros((), device=x.device)
        for piece in self.pieces.of(Piece(x, y, rows, self.memory), extent.rows):
            for own_term in self.terms(piece):
                term = own_term if piece.weight == 1 else own_term * piece.weight
                self.exchange.next_term()
                term.backward()
                loss = loss + term.detach()
        self.exchange.finish(len(x), extent.rows)
        if self.settings.clip_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self._take_average()
        self.steps_done += 1
        self.losses.append((loss, extent.samples))

    def _rate(self, number: int) -> float:
        """The learning rate at a step of this epoch, of a batch of the usual size."""
        steps = self.batches.steps(self.epoch)
        return self.settings.lr * self.schedule.rate(self.epoch * steps + number, steps)

    def _take_average(self) -> None:
        if self.average is None and self._averages:
            self.average = self._new_average()
        if self.average is not None:
            self.average.update(self.model)

    @property
    def _averages(self) -> bool:
        """Whether weights are averaged; in a stage after a restart they are from its beginning."""
        settings, epochs = self.settings, self.schedule.epochs
        return settings.averages(epochs if self.stage else self.epoch, epochs)

    def _new_average(self) -> Average:
        average = Average(self.model, self.settings.ema_decay)
        self.runtime.compiled(average.network)
        return average

    def terms(self, piece: Piece) -> Iterator[Loss]:
        """The method's terms for a piece of a batch."""
        method = self.schedule.method(self.epoch, self.method)
        more: dict[str, Any] = {}
        if "rows" in method.wants:
            more["rows"] = piece.rows
        if "unlabelled" in method.wants:
            more["unlabelled"] = self.runtime.layout(self.batches.more(len(piece.x), self.rng))
        if "memory" in method.wants:
            more["memory"] = piece.memory
        if "progress" in method.wants:
            more["progress"] = self.progress
        return self.runtime.in_precision(method(self.model, piece.x, piece.y, self.rng, **more))

    @property
    def progress(self) -> float:
        """The share of this stage's epochs that is done."""
        steps = self.batches.steps(self.epoch)
        return min((self.epoch + self.steps_in_epoch / steps) / max(self.schedule.epochs, 1), 1.0)

    def close_epoch(self) -> dict[str, float]:
        """Complete the epoch; return its mean loss, last learning rate and training seconds.

        An epoch that is not measured has no values, so that it need not wait for the device.
        """
        values: dict[str, float] = {}
        if self.schedule.measured(self.epoch + 1):
            since = perf_counter()
            self.check()
            values["train_loss"] = self.loss_sum / self.batches.samples(self.epoch)
            values["lr"] = self._rate(self.steps_in_epoch - 1)
            values["seconds"] = self.seconds + perf_counter() - since
            if self.schedule.restarts:
                values["stage"] = float(self.stage)
        self.epoch, self.seconds, self.loss_sum = self.epoch + 1, 0.0, 0.0
        self.memory = Memory()
        return values

    def restart(self, weights: Mapping[str, Tensor] | None) -> None:
        """Go on from these weights, known to rank zero, with a new optimizer and a new average."""
        if weights is not None:
            self.model.load_state_dict(weights)
        ranks.broadcast_parameters(self.model)
        self.optimizer, self.average = self.settings(self.model), None
        self.stage += 1

    def check(self) -> None:
        """Add up this epoch's losses since the last check; stop the run if any is not finite."""
        if not self.losses:
            return
        losses, samples = zip(*self.losses, strict=True)
        weighted = ranks.all_reduce_(torch.stack(losses)).cpu() * torch.tensor(samples)
        first = self.steps_done - len(losses) + 1
        for step, loss in enumerate(weighted.tolist(), start=first):
            if not isfinite(loss):
                raise LossNotFiniteError(self._complaint("loss was", step))
            if step > self.batches.first(self.epoch):
                self.loss_sum += loss  # one by one: the sum must not depend on when it is checked
        self.losses.clear()

    def _complaint(self, what: str, step: int) -> str:
        return (
            f"the {what} not finite at step {step} (epoch {self.epoch + 1}, "
            f"seed {self.batches.seed}); lower optimizer.lr or set optimizer.clip_norm"
        )

    def state(self) -> dict[str, Any]:
        """Everything that continues this run. All ranks must call it; rank zero may save it.

        A resumed run is bit-identical on a CPU, and on CUDA if the runtime is deterministic.
        """
        self.check()
        state: dict[str, Any] = {name: part.state_dict() for name, part in self._parts().items()}
        state["counters"] = [self.epoch, self.steps_done, self.seconds]
        state["loss_sum"], state["stage"] = self.loss_sum, self.stage
        state["averaged"] = 0 if self.average is None else self.average.count
        state["memory"] = ranks.all_gather_rows(self.memory.state)
        draws, *others = ranks.all_gather_object(all_states(self.rng))
        return state | draws | ({"other_ranks": others} if others else {})

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken, even on another device or number of ranks.

        The order of the samples continues, and so does every generator that still fits: the shared
        one always, each rank's own if there are as many ranks, the device's if it is of the same
        kind. The others are seeded from the seed, the step and the rank.
        """
        self.average = self._new_average() if "average" in state else None
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        lay_out_like_weights(self.optimizer)
        self.epoch, self.steps_done, self.seconds = state["counters"]
        self.stage = state.get("stage", 0)  # of earlier versions, here and below
        if self.average is not None:
            self.average.count = state.get("averaged", self.steps_done)
        carried = (ranks.shard(rows) for rows in state.get("memory", ()))
        self.memory = Memory(tuple(rows.to(self.runtime.target) for rows in carried))
        self.loss_sum = float(state["loss_sum"])
        self.losses.clear()
        draws = [state, *state.get("other_ranks", [])]
        own = draws[ranks.rank()] if len(draws) == ranks.world_size() else None
        seed = derived_seed(self.batches.seed, "moved", self.steps_done)
        restore_all(self.rng, own, state["rng"]["shared"], seed, ranks.rank())

    def check_weights(self) -> None:
        """Stop the run if the weights are not finite although the loss was."""
        self.check()
        finite = torch.stack([p.isfinite().all() for p in self.model.parameters()])
        if not finite.all().item():
            raise LossNotFiniteError(self._complaint("weights were", self.steps_done))

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, nn.Module | torch.optim.Optimizer] = {
            "model": self.model,
            "optimizer": self.optimizer,
        }
        return parts if self.average is None else {**parts, "average": self.average.network}
