"""The loop that trains a classifier: its only backward and its only optimizer step.

What is not a classifier's training has a loop of its own, `vicinal.tasks.*.loop`.
"""

from collections.abc import Iterator
from math import isfinite
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from vicinal.contracts import Inputs, Loss, Method, Rows, Targets
from vicinal.data.batches import Batches
from vicinal.draws import Rng, all_states, derived_seed, restore_all
from vicinal.errors import RunError
from vicinal.machine import ranks
from vicinal.machine.exchange import GradientExchange
from vicinal.machine.runtime import Runtime
from vicinal.optim import Average, Optimizer, lay_out_like_weights
from vicinal.schedules import Schedule

CHECK_EVERY = 50  # steps between two checks of the loss, each of which waits for the device


class LossNotFiniteError(RunError):
    """Training cannot continue."""


class Loop:
    """Trains one network. Owns every draw; `state()` has everything a resumed run needs.

    With several ranks, each processes its shard of every batch.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        batches: Batches,
        *,
        optimizer: Optimizer,
        schedule: Schedule,
        runtime: Runtime,
        rng: Rng,
    ) -> None:
        ranks.broadcast_parameters(model)
        self.exchange = GradientExchange(model)
        self.model, self.method, self.batches = model, method, batches
        self.base_lr, self.clip_norm = optimizer.lr, optimizer.clip_norm
        self.optimizer = optimizer(model)
        self.schedule, self.runtime, self.rng = schedule, runtime, rng
        self.average: Average | None = None
        if optimizer.ema_decay is not None:
            self.average = Average(model, optimizer.ema_decay)
            runtime.compiled(self.average.network)
        self.epoch = 0  # epochs completed
        self.steps_done = 0
        self.seconds = 0.0  # of training, in this epoch
        self.loss_sum = 0.0  # over this epoch's samples, up to the last check
        self.losses: list[tuple[Tensor, int]] = []  # since that check: loss, number of samples

    @property
    def network(self) -> nn.Module:
        """The network to evaluate: the trained one, or its average where one is kept."""
        return self.model if self.average is None else self.average.network

    def steps(self) -> Iterator[int]:
        """Train through the rest of this epoch, yielding the batch's size after every step."""
        self.model.train()
        first = self.steps_done - self.epoch * len(self.batches)
        since = perf_counter()
        for x, y, rows in self.batches.epoch(self.epoch, first, self.rng):
            samples = self.batches.size(self.steps_done - self.epoch * len(self.batches))
            self.step(self.runtime.begin_step(x), y, rows, samples)
            if self.steps_done % CHECK_EVERY == 0:
                self.check()
            self.seconds, since = self.seconds + perf_counter() - since, perf_counter()
            yield samples
            since = perf_counter()

    def step(self, x: Inputs, y: Targets, rows: Rows, samples: int) -> None:
        """Update the weights once, for the mean loss over the `samples` of all ranks."""
        rate = self.base_lr * self.schedule.rate(self.steps_done, len(self.batches))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
            for parameter in group["params"]:
                parameter.grad = None  # zero_grad() calls the profiler: 6 % of an MLP's step
        self.exchange.begin()
        loss = torch.zeros((), device=x.device)
        for own_term in self.terms(x, y, rows):
            term = ranks.weighted(own_term, len(x), samples)
            self.exchange.next_term()
            term.backward()
            loss = loss + term.detach()
        self.exchange.finish(len(x), samples)
        if self.clip_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model, first=self.steps_done == 0)
        self.steps_done += 1
        self.losses.append((loss, samples))

    def terms(self, x: Inputs, y: Targets, rows: Rows) -> Iterator[Loss]:
        """The method's terms, computed under the run's autocast and yielded outside it."""
        method = self.schedule.method(self.epoch, self.method)
        more: dict[str, Tensor] = {}
        if "rows" in method.wants:
            more["rows"] = rows
        if "unlabelled" in method.wants:
            more["unlabelled"] = self.runtime.layout(self.batches.more(len(x), self.rng))
        terms = method(self.model, x, y, self.rng, **more)
        while True:
            with self.runtime.autocast():
                term = next(terms, None)
            if term is None:
                return
            yield term

    def close_epoch(self) -> dict[str, float]:
        """Complete the epoch; return its mean loss, last learning rate and training seconds."""
        since = perf_counter()
        self.check()
        loss = self.loss_sum / len(self.batches.split)
        rate = self.optimizer.param_groups[0]["lr"]
        seconds = self.seconds + perf_counter() - since
        self.epoch, self.seconds, self.loss_sum = self.epoch + 1, 0.0, 0.0
        return {"train_loss": loss, "lr": rate, "seconds": seconds}

    def check(self) -> None:
        """Add up the losses since the last check; stop the run if one is not finite."""
        if not self.losses:
            return
        losses, samples = zip(*self.losses, strict=True)
        weighted = ranks.all_reduce_(torch.stack(losses)).cpu() * torch.tensor(samples)
        first = self.steps_done - len(losses) + 1
        for step, loss in enumerate(weighted.tolist(), start=first):
            if not isfinite(loss):
                raise LossNotFiniteError(self._complaint("loss was", step))
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
        state["loss_sum"] = self.loss_sum
        draws, *others = ranks.all_gather_object(all_states(self.rng))
        return state | draws | ({"other_ranks": others} if others else {})

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken, even on another device or number of ranks.

        The order of the samples continues, and so does every generator that still fits: the shared
        one always, each rank's own if there are as many ranks, the device's if it is of the same
        kind. The others are seeded from the seed, the step and the rank.
        """
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        lay_out_like_weights(self.optimizer)
        self.epoch, self.steps_done, self.seconds = state["counters"]
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


def count_parameters(model: nn.Module) -> int:
    """How many numbers of a network are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
