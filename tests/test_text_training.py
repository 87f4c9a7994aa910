"""The loop trains a language model on text as anyone would write it, and as if it never stopped."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from language import ids, small
from torch import nn
from torch.nn import functional as F

from vicinal.contracts import Loss, Memory, Method, Wants, Words
from vicinal.data.text import Segments, Text
from vicinal.draws import Rng
from vicinal.loop import Loop
from vicinal.machine.runtime import Runtime
from vicinal.optim import Sgd
from vicinal.schedules import Constant, Schedule


@dataclass(frozen=True)
class NextWord(Method):
    """The mean loss over all words, reading on from the last step."""

    wants: ClassVar[Wants] = ("memory",)

    def __call__(
        self, model: nn.Module, x: Words, y: Words, rng: Rng, memory: Memory
    ) -> Iterator[Loss]:
        read = model(x, memory.state)
        memory.state = tuple(each.detach() for each in read.state)
        yield F.cross_entropy(read.logits.flatten(0, 1), y.flatten())


def loop(dropout: float = 0.5, accumulate: int = 1) -> Loop:
    return Loop(
        small(dropout=dropout),
        NextWord(),
        Segments(Text(ids(600)), 4, seed=0, bptt=20),
        optimizer=Sgd(lr=0.5, momentum=0),
        schedule=Schedule(epochs=3, batch_size=4, curve=Constant()),
        runtime=Runtime(device="cpu", accumulate=accumulate),
        rng=Rng.seeded(0),
    )


def test_training_on_text_equals_the_loop_anyone_would_write() -> None:
    trained, model = loop(), small().train()
    torch.manual_seed(7)
    losses = []
    for _ in range(2):
        for _ in trained.steps():
            pass
        values = trained.close_epoch()
        losses.append(values["train_loss"])
        assert values["lr"] == 0.5  # that of a segment of the usual length
    torch.manual_seed(7)
    columns = ids(600).view(4, 150)
    for epoch in range(2):
        start, total, state = 0, 0.0, ()
        for length in Segments(Text(ids(600)), 4, seed=0, bptt=20).lengths(epoch):
            read = model(columns[:, start : start + length], state)
            state = tuple(each.detach() for each in read.state)
            y = columns[:, start + 1 : start + 1 + length]
            loss = F.cross_entropy(read.logits.reshape(-1, 11), y.reshape(-1))
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for weight, gradient in zip(model.parameters(), gradients, strict=True):
                    weight.sub_(0.5 * length / 20 * gradient)
            total += loss.item() * 4 * length
            start += length
        assert losses[epoch] == pytest.approx(total / (4 * start), rel=1e-12)
    for ours, plain in zip(trained.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


def test_a_resumed_run_reads_on_where_it_stopped() -> None:
    whole, first, second = loop(), loop(), loop()
    torch.manual_seed(7)
    for _ in whole.steps():
        pass
    torch.manual_seed(7)
    for number, _ in enumerate(first.steps()):
        if number == 3:
            break
    second.restore(first.state())
    for _ in second.steps():
        pass
    assert second.steps_done == whole.steps_done > 5
    for ours, theirs in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert second.close_epoch()["train_loss"] == whole.close_epoch()["train_loss"]


def test_each_piece_of_the_columns_reads_on_from_its_own_state() -> None:
    """Of four columns, in three pieces; a checkpoint continues in any number of them."""
    whole, pieces, changed = loop(0), loop(0, accumulate=3), loop(0, accumulate=2)
    for of in (whole, pieces):
        for _ in of.steps():
            if of.steps_done == 3:
                break
    torch.testing.assert_close(pieces.memory.state, whole.memory.state, rtol=1e-12, atol=1e-12)
    changed.restore(pieces.state())
    for of in (whole, pieces, changed):
        for _ in range(2):
            for _ in of.steps():
                pass
            of.close_epoch()
    for of in (pieces, changed):
        for ours, theirs in zip(of.model.parameters(), whole.model.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
