"""The loop against the plain loop it stands for, and what it must notice."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.contracts import Inputs, Loss, Memory, Method, Rows, Targets
from vicinal.data.batches import Batches
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.errors import LossNotFiniteError
from vicinal.loop import Loop
from vicinal.machine.runtime import Runtime
from vicinal.methods.erm import Erm
from vicinal.optim import Adam, Optimizer, Sgd
from vicinal.schedules import Constant, Schedule, Step
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup


def split(count: int = 50) -> Split:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (count, 1, 4, 4), generator=generator, dtype=torch.uint8)
    return Split(x, torch.randint(3, (count,), generator=generator))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


def loop(
    method: Method | None = None,
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    model: nn.Module | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Loop:
    schedule = schedule or Schedule(epochs=4, batch_size=16, curve=Step((0.5,)))
    return Loop(
        model or network(),
        method or Erm(Identity()),
        Batches(split(), 3, schedule.batch_size, Identity(), seed=0),
        optimizer=optimizer or Sgd(lr=0.1),
        schedule=schedule,
        runtime=Runtime(device="cpu", precision=precision),
        rng=Rng.seeded(0),
    )


def finish(trained: Loop) -> list[dict[str, float]]:
    history = []
    while trained.epoch < trained.schedule.epochs:
        for _ in trained.steps():
            pass
        history.append(trained.close_epoch())
    return history


def test_training_equals_the_loop_anyone_would_write() -> None:
    trained = loop(optimizer=Sgd(lr=0.1, weight_decay=0.01, clip_norm=0.5))
    history = finish(trained)
    data, model = split(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for epoch in range(4):
        optimizer.param_groups[0]["lr"] = 0.1 if epoch < 2 else 0.1 * 0.1
        total = 0.0
        for x, y, _ in Batches(data, 3, 16, Identity(), seed=0).epoch(epoch, 0, Rng.seeded(0)):
            loss = F.cross_entropy(model(x), y.argmax(1))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            total += loss.item() * len(x)
        assert history[epoch]["train_loss"] == pytest.approx(total / 50, rel=1e-6)
    for ours, plain in zip(trained.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, plain)


@dataclass(frozen=True)
class InTerms(Method):
    """ERM's loss in three terms."""

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        for _ in range(3):
            yield F.cross_entropy(model(x), y) / 3


def test_terms_add_up_to_one_step() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    whole, parts = loop(model=linear), loop(InTerms(), model=nn.Sequential(*linear))
    initial = [p.clone() for p in linear.parameters()]
    losses = []
    for each in (whole, parts):
        with torch.no_grad():
            for parameter, value in zip(each.model.parameters(), initial, strict=True):
                parameter.copy_(value)
        losses.append(finish(each)[-1]["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert whole.steps_done == parts.steps_done == 16


def test_the_average_is_exponential_and_is_what_is_evaluated() -> None:
    trained = loop(optimizer=Sgd(lr=0.1, ema_decay=0.8))
    average = None
    for _ in trained.steps():
        weight = trained.model[1].weight.detach()
        average = weight.clone() if average is None else 0.8 * average + 0.2 * weight
    torch.testing.assert_close(trained.network[1].weight, average)
    assert torch.equal(trained.network[2].running_mean, trained.model[2].running_mean)
    assert trained.network is not trained.model
    alone = loop()
    assert alone.network is alone.model


def test_the_mean_is_averaged_sgds_from_its_epoch_on() -> None:
    """As torch's ASGD averages, whose mean leaves out the first of these weights."""
    trained = loop(optimizer=Sgd(lr=0.1, momentum=0, mean_from=0.5))
    model = network()
    asgd = torch.optim.ASGD(model.parameters(), lr=0.1, lambd=0, t0=0)
    since: list[Tensor] = []
    for epoch in range(4):
        for x, y, _ in trained.batches.epoch(epoch, 0, Rng.seeded(0)):
            asgd.zero_grad()
            F.cross_entropy(model(x), y).backward()
            if epoch == 2 and not since:  # AWD-LSTM's switch: a new optimizer
                asgd = torch.optim.ASGD(model.parameters(), lr=0.1, lambd=0, t0=0)
            asgd.param_groups[0]["lr"] = 0.1 * (0.1 if epoch >= 2 else 1)
            asgd.step()
            since += [model[1].weight.detach().clone()] if epoch >= 2 else []
        for _ in trained.steps():
            pass
        trained.close_epoch()
        assert (trained.network is trained.model) == (epoch < 2)
    averaged = trained.network[1].weight
    torch.testing.assert_close(averaged, torch.stack(since).mean(0), rtol=1e-5, atol=1e-6)
    theirs = asgd.state[model[1].weight]["ax"]
    torch.testing.assert_close(theirs, torch.stack(since[1:]).mean(0), rtol=1e-5, atol=1e-6)


def test_an_epoch_that_is_not_measured_waits_for_no_loss() -> None:
    """Of 250 images an epoch has three steps, and hundreds of thousands of them are trained."""

    def by(measure_epochs: int) -> Loop:
        schedule = Schedule(
            epochs=5, batch_size=16, curve=Step((0.5,)), measure_epochs=measure_epochs
        )
        return loop(schedule=schedule)

    every, some = finish(by(1)), by(2)
    for _ in some.steps():
        pass
    assert some.close_epoch() == {}
    assert len(some.losses) == some.steps_done
    resumed = by(2)
    resumed.restore(some.state())
    for other in (some, resumed):
        second, third, fourth, fifth = finish(other)
        assert third == {}
        for number, found in ((1, second), (3, fourth), (4, fifth)):
            assert {**found, "seconds": 0} == {**every[number], "seconds": 0}


@dataclass(frozen=True)
class Remembers(Method):
    """ERM's loss, weighted by the loss of the step before."""

    wants: ClassVar = ("memory",)

    def __call__(
        self, model: nn.Module, x: Inputs, y: Targets, rng: Rng, *, memory: Memory
    ) -> Iterator[Loss]:
        loss = F.cross_entropy(model(x), y)
        before = sum((each.mean() for each in memory.state), start=torch.zeros(()))
        memory.state = (loss.detach().repeat(len(x), 1),)
        yield loss * (1 + before)


def test_what_a_network_carries_is_empty_at_the_start_of_an_epoch() -> None:
    trained = loop(Remembers())
    for _ in trained.steps():
        assert len(trained.memory.state) == 1
    trained.close_epoch()
    assert trained.memory.state == ()


def test_a_restart_goes_on_from_the_weights_and_forgets_the_rest() -> None:
    """AWD-LSTM's fine-tuning: the best weights, a new optimizer, averaged at once."""
    trained = loop(optimizer=Sgd(lr=0.1, mean_from=0.25))
    for _ in trained.steps():
        pass
    best = {name: value.clone() for name, value in trained.model.state_dict().items()}
    trained.close_epoch()
    finish(trained)
    assert trained.optimizer.state
    trained.restart(best)
    assert not trained.optimizer.state
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, best[name])
    steps = trained.steps()
    next(steps)
    first = trained.model[1].weight.detach().clone()
    next(steps)
    mean = (first + trained.model[1].weight) / 2
    torch.testing.assert_close(trained.network[1].weight, mean)


@dataclass(frozen=True)
class Breaks(Method):
    """Infinite loss at one step."""

    at: int
    steps: list[int]

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        self.steps.append(len(self.steps) + 1)
        factor = float("inf") if self.steps[-1] == self.at else 1.0
        yield F.cross_entropy(model(x), y) * factor


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step() -> None:
    with pytest.raises(
        LossNotFiniteError,
        match=says("loss ... finite ... step 6 ... epoch 2 ... seed 0 ... optimizer.lr"),
    ):
        finish(loop(Breaks(6, [])))


def test_weights_that_are_not_finite_do_not_become_a_checkpoint() -> None:
    trained = loop()
    next(trained.steps())
    trained.check_weights()
    with torch.no_grad():
        trained.model[1].weight[0, 0] = torch.nan
    with pytest.raises(LossNotFiniteError, match=says("weights ... finite ... step 1")):
        trained.check_weights()


@pytest.mark.parametrize(
    ("method", "optimizer"),
    [
        (Erm(Mixup()), Sgd(lr=0.1, ema_decay=0.9)),
        (Erm(Mixup()), Adam(lr=0.01, ema_decay=0.9)),
        (Remembers(), Sgd(lr=0.1, momentum=0, mean_from=0.3)),
    ],
    ids=["sgd", "adam", "carried and averaged"],
)
def test_resuming_at_every_step_changes_no_bit(method: Method, optimizer: Optimizer) -> None:
    def make() -> Loop:
        return loop(method, optimizer, model=dropout_network())

    def dropout_network() -> nn.Module:
        return nn.Sequential(*network(), nn.Dropout(0.3))

    torch.manual_seed(7)
    whole = make()
    reference = finish(whole)
    for stop in range(17):
        torch.manual_seed(7)
        first = make()
        history = advance(first, stop)
        state = first.state()
        torch.manual_seed(1234)  # a new process knows nothing of the old generators
        second = make()
        second.rng.cpu.manual_seed(99)
        second.restore(state)
        history += finish(second)
        assert [h["train_loss"] for h in history] == [h["train_loss"] for h in reference]
        for key, value in whole.model.state_dict().items():
            assert torch.equal(value, second.model.state_dict()[key]), (stop, key)
        assert torch.equal(whole.network[1].weight, second.network[1].weight)


def advance(trained: Loop, steps: int) -> list[dict[str, float]]:
    """Just after a step, before its epoch is closed."""
    history = []
    while trained.steps_done < steps:
        if trained.steps_in_epoch == trained.batches.steps(0):
            history.append(trained.close_epoch())
        for _ in trained.steps():
            if trained.steps_done == steps:
                return history
    return history


def test_the_learning_rate_logged_is_the_epochs_last() -> None:
    schedule = Schedule(epochs=2, batch_size=16, curve=Constant(), warmup_epochs=2)
    rates = [epoch["lr"] for epoch in finish(loop(schedule=schedule))]
    assert rates == pytest.approx([0.1 * 3 / 8, 0.1 * 7 / 8])


@dataclass(frozen=True)
class Curious(Method):
    """Asks for everything a method may ask for."""

    seen: list[tuple[Tensor, Tensor]]
    wants: ClassVar = ("rows", "unlabelled")

    def __call__(
        self, model: nn.Module, x: Inputs, y: Targets, rng: Rng, *, rows: Rows, unlabelled: Inputs
    ) -> Iterator[Loss]:
        self.seen.append((rows, unlabelled))
        yield F.cross_entropy(model(x), y)


def test_a_method_gets_the_places_and_the_unlabelled_images_it_wants() -> None:
    curious = loop(Curious([]))
    more = Split(torch.full((5, 1, 4, 4), 255, dtype=torch.uint8), torch.zeros(5).long())
    curious.batches = replace(curious.batches, unlabelled=more)
    assert not curious.method.seen
    finish(curious)
    first_epoch = torch.cat([rows for rows, _ in curious.method.seen[:4]])
    assert torch.equal(first_epoch.sort().values, torch.arange(50))
    assert all(torch.equal(x, torch.ones(len(rows), 1, 4, 4)) for rows, x in curious.method.seen)


@dataclass(frozen=True)
class Hurried(Method):
    """Asks how much of the training is done."""

    seen: list[float]
    wants: ClassVar = ("progress",)

    def __call__(
        self, model: nn.Module, x: Inputs, y: Targets, rng: Rng, *, progress: float
    ) -> Iterator[Loss]:
        self.seen.append(progress)
        yield F.cross_entropy(model(x), y)


def test_a_method_gets_the_share_of_the_training_that_is_done() -> None:
    hurried = loop(Hurried([]))
    finish(hurried)
    steps = len(hurried.method.seen)
    assert hurried.method.seen == pytest.approx([number / steps for number in range(steps)])


@dataclass(frozen=True)
class Watches(Method):
    """ERM's loss, in two terms; sees what the network computes in."""

    seen: list[torch.dtype]

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        for _ in range(2):
            logits = model(x)
            self.seen.append(logits.dtype)
            yield F.cross_entropy(logits.float(), y) / 2


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_every_term_is_computed_in_the_runs_precision(
    precision: Literal["fp32", "bf16"], dtype: torch.dtype
) -> None:
    watches = Watches([])
    trained = loop(watches, precision=precision)
    next(trained.steps())
    assert watches.seen == [dtype, dtype]
    assert all(parameter.dtype == torch.float32 for parameter in trained.model.parameters())
