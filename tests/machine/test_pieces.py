"""A batch in pieces trains as a whole batch does, or as ranks that take a piece each."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import brief, compose
from torch import nn
from torch.nn import functional as F
from two_ranks import data, loop, on_two, trained
from wording import says

from vicinal.cli.configs import build
from vicinal.contracts import Inputs, Loss, Method, Objects, Targets
from vicinal.draws import Rng
from vicinal.machine import ranks
from vicinal.machine.runtime import Runtime
from vicinal.methods.erm import Erm
from vicinal.optim import Adam, AdamW, Optimizer, Sgd
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
ERM = Erm(Identity())
# Whose ranks draw nothing but what they draw together.
ALIKE = {
    "erm": [],
    "gradaug_semi": ["method.num_subnets=1"],  # counts its steps, and has unlabelled images
    "mean_teacher": [],  # averages its weights once per step
    "stochastic_depth": ["method.survival=0.5"],
    "gradaug": ["method.num_subnets=1", "method.transform.scales=[1,0.5]"],
}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def method_of(name: str) -> Method:
    lines = ["dataset=digits", "model=wrn10_2", *ALIKE[name]]
    return brief(build(compose(f"method={name}", *lines)).method)


def assert_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Weights, running statistics, other buffers, averages, losses."""
    for part in ("state", "average"):
        assert found[part].keys() == expected[part].keys()
        for key, value in expected[part].items():
            torch.testing.assert_close(found[part][key], value, rtol=1e-9, atol=1e-9, msg=key)
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-9)


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        pytest.param("erm", Sgd(lr=0.05, weight_decay=0.1, ema_decay=0.5), id="sgd"),
        pytest.param("gradaug", Sgd(lr=0.05, nesterov=True, clip_norm=0.5), id="clipped in terms"),
        pytest.param("erm", Adam(lr=0.01, clip_norm=0.5, mean_from=0.5), id="adam, averaged"),
        pytest.param("erm", AdamW(lr=0.01, weight_decay=0.1, ema_decay=0.5), id="adamw"),
    ],
)
def test_without_batchnorm_pieces_train_as_the_whole_batch(name: str, optimizer: Optimizer) -> None:
    """13 samples in batches of 8: pieces of 2, then one of 2 and three of 1."""
    method, samples = method_of(name), data(13)
    whole, pieces = (
        trained(loop(method, samples, norms=False, accumulate=count, optimizer=optimizer))
        for count in (1, 4)
    )
    assert_close(pieces, whole)


@pytest.mark.parametrize("name", list(ALIKE))
def test_two_pieces_train_as_two_ranks(name: str, tmp_path: Path) -> None:
    """With BatchNorm, whose statistics have one update per step, and all that a network counts."""
    method, samples = method_of(name), data(13, unlabelled=1)
    pieces = trained(loop(method, samples, norms=True, accumulate=2))
    for found in on_two(lambda: trained(loop(method, samples, norms=True)), tmp_path):
        assert_close(found, pieces)


def test_two_ranks_of_two_pieces_train_as_one_process(tmp_path: Path) -> None:
    """The last shards are of 3 and 2 samples, so that both ranks have the same number of pieces."""
    method, samples = method_of("gradaug"), data(13)
    whole = trained(loop(method, samples, norms=False))
    ways = [partial(loop, method, samples, norms=False, accumulate=count) for count in (2, 3)]
    for found in on_two(lambda: [trained(way()) for way in ways], tmp_path):
        for each in found:
            assert_close(each, whole)


def test_gradients_leave_in_the_backward_of_the_last_pieces_last_term(tmp_path: Path) -> None:
    """Of three pieces with two terms each; how many terms there are is known from step 2 on."""
    method = method_of("gradaug")

    def events() -> list[list[str]]:
        of, steps = loop(method, data(16), norms=False, accumulate=3), list[list[str]]()
        begin, next_term, finish = of.exchange.begin, of.exchange.next_term, of.exchange.finish
        of.exchange.begin = lambda: (steps.append([]), begin())[1]
        of.exchange.next_term = lambda: (steps[-1].append("term"), next_term())[1]
        of.exchange.finish = lambda *given: (steps[-1].append("finish"), finish(*given))[1]
        send = ranks.all_reduce_async_
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                ranks, "all_reduce_async_", lambda sums: (steps[-1].append("send"), send(sums))[1]
            )
            trained(of)
        return steps

    first, *later = on_two(events, tmp_path)[0]
    assert first == ["term"] * 6 + ["finish", "send"]
    assert later == [["term"] * 6 + ["send", "finish"]] * 3


@dataclass(frozen=True)
class Draws(Method):
    """What each call draws, by generator."""

    seen: list[tuple[float, float, float, int]]

    def __call__(self, model: nn.Module, x: Inputs, y: Targets, rng: Rng) -> Iterator[Loss]:
        generators = (rng.cpu, rng.device, rng.shared)
        drawn = [torch.rand((), generator=each).item() for each in generators]
        self.seen.append((drawn[0], drawn[1], drawn[2], len(x)))
        yield F.cross_entropy(model(x), y)


def test_pieces_draw_for_themselves_but_share_what_ranks_share() -> None:
    seen: list[tuple[float, float, float, int]] = []
    trained(loop(Draws(seen), data(13), norms=False, accumulate=4))
    cpu, device, shared, sizes = zip(*seen, strict=True)
    assert sizes == (2, 2, 2, 2, 2, 1, 1, 1) * 2
    assert len(set(cpu)) == len(set(device)) == 16
    steps = [set(shared[first : first + 4]) for first in range(0, 16, 4)]
    assert [len(step) for step in steps] == [1, 1, 1, 1]
    assert len(set.union(*steps)) == 4


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resuming_changes_no_bit(stop: int) -> None:
    def make() -> Any:
        return loop(Erm(Mixup()), data(13), norms=True, accumulate=2)

    whole, first, second = make(), make(), make()
    expected = trained(whole)
    for _ in range(stop):
        next(first.steps())
        if first.steps_in_epoch == 2:
            first.close_epoch()
    second.restore(first.state())
    while second.epoch < 2:
        for _ in second.steps():
            pass
        second.close_epoch()
    for key, value in expected["state"].items():
        assert torch.equal(second.model.state_dict()[key], value), key


def test_objects_of_some_photos_are_theirs() -> None:
    boxes, masks = torch.arange(16.0).view(4, 4), torch.arange(4).view(4, 1, 1)
    sizes = ((1, 2), (3, 4), (5, 6))
    objects = Objects(boxes, torch.arange(4), masks.to(torch.uint8), (2, 0, 2), sizes)
    first, last = objects[:2], objects[2:]
    assert (first.labels.tolist(), last.labels.tolist()) == ([0, 1], [2, 3])
    assert torch.equal(torch.cat([first.boxes, last.boxes]), boxes)
    assert last.masks.flatten().tolist() == [2, 3]
    assert (first.counts, last.counts, last.sizes) == ((2, 0), (2,), ((5, 6),))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"accumulate": 0}, "accumulate ... at least 1 ... 0"),
        ({"accumulate": 2, "sync_batchnorm": True}, "sync_batchnorm ... false ... accumulate is 2"),
        ({"sync_batchnorm": True, "cuda_graphs": True}, "cuda_graphs"),
    ],
)
def test_what_pieces_exclude_is_refused(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=says(rule)):
        Runtime(device="cpu", **settings)


def test_a_record_says_how_many_pieces_unless_it_is_one() -> None:
    assert "accumulate" not in Runtime(device="cpu").summary()
    assert Runtime(device="cpu", accumulate=4).summary()["accumulate"] == 4
