"""Gradients that leave during the backward are those of exchanging after it."""

import copy
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from two_ranks import on_two

from vicinal.machine import exchange, ranks
from vicinal.machine.exchange import GradientExchange
from vicinal.machine.synced_norms import sync_norms

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
Gradients = list[Tensor | None]


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a layer each."""
    monkeypatch.setattr(exchange, "BUCKET", 3)


class Chain(nn.Module):
    """One of ours, since torch 2.11 leaves a module of its own uncompiled."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def chain(*sizes: int) -> Chain:
    """Layers one after the other, whose weights are 1."""
    model = Chain(nn.Linear(a, b, bias=False) for a, b in pairwise(sizes))
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    return model


def step(of: GradientExchange, model: nn.Module, terms: list[Callable[[], Tensor]]) -> Gradients:
    for parameter in model.parameters():
        parameter.grad = None
    of.begin()
    for term in terms:
        of.next_term()
        term().backward()
    of.finish(1, ranks.world_size())
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def exchanged(counts: list[int], world_gains: bool = True) -> list[Gradients]:
    """Steps of so many terms each, that differ between the ranks."""
    model = chain(2, 2, 2)
    of, gain = GradientExchange(model), ranks.rank() + 1 if world_gains else 3
    x = torch.ones(1, 2)
    return [
        step(of, model, [lambda n=n: (n + 1) * gain * model(x).sum() for n in range(count)])
        for count in counts
    ]


@pytest.mark.parametrize("counts", [[1, 1, 1], [3, 3, 3], [2, 3, 3], [3, 1, 1], [1, 4, 2, 2]])
def test_gradients_are_the_sum_of_all_terms_whatever_was_expected(
    counts: list[int], tmp_path: Path
) -> None:
    expected = exchanged(counts, world_gains=False)  # 1 + 2, by one process
    for found in on_two(lambda: exchanged(counts), tmp_path):
        for gradients, right in zip(found, expected, strict=True):
            assert all(map(torch.equal, gradients, right))


def test_parameters_without_a_gradient_on_any_rank_stay_without(tmp_path: Path) -> None:
    """Weight decay would change them. What one rank has in a term before the last arrives, too."""

    def steps() -> list[Gradients]:
        layers = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(4))
        of, x = GradientExchange(layers), torch.ones(1, 1)
        used = [0] if ranks.is_main() else [0, 1]
        first = [2] if ranks.is_main() else []
        terms = [lambda: (layers[n](x) for n in [*first, 0]), lambda: (layers[n](x) for n in used)]
        summed = [lambda term=term: torch.cat(list(term())).sum() for term in terms]
        return [step(of, layers, summed) for _ in range(3)]

    for found in on_two(steps, tmp_path):
        for gradients in found:
            assert gradients == [torch.tensor([[n]]) for n in (4.0, 1.0, 1.0)] + [None]


def test_gradients_of_several_types_in_many_buckets_all_arrive(tmp_path: Path) -> None:
    def gradients() -> Gradients:
        kinds = {2: torch.float32, 1: torch.float64, 5: torch.float32, 3: torch.float32}
        layers = nn.ModuleList(nn.Linear(1, n, bias=False, dtype=t) for n, t in kinds.items())
        of = GradientExchange(layers)
        terms = [lambda p=p: (p * (ranks.rank() + 1)).sum() for p in layers.parameters()]
        return step(of, layers, terms)

    for found in on_two(gradients, tmp_path):
        assert [set(gradient.flatten().tolist()) for gradient in found if gradient is not None] == [
            {3.0}
        ] * 4


def test_gradients_lie_in_memory_as_their_parameters_do(tmp_path: Path) -> None:
    def strides() -> list[tuple[int, ...]]:
        model = nn.Conv2d(3, 5, 3, bias=False).to(memory_format=torch.channels_last)  # pyright: ignore
        of = GradientExchange(model)
        step(of, model, [lambda: model(torch.ones(1, 3, 4, 4)).square().sum()])
        assert model.weight.grad is not None
        return [model.weight.stride(), model.weight.grad.stride()]

    for weight, gradient in on_two(strides, tmp_path):
        assert weight == gradient == (27, 1, 9, 3)


def sent_before(model: nn.Module, x: Tensor, steps: int) -> list[int]:
    """How many buckets had left when the backward came to the first layer, step by step."""
    of, seen, log = GradientExchange(model), [], []
    for parameter in model.parameters():
        parameter.requires_grad_(False).requires_grad_()  # as a search among inputs does
    first = next(model.parameters())
    first.register_hook(lambda _: seen.append(len(log)))
    summing = ranks.all_reduce_async_
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ranks, "all_reduce_async_", lambda values: log.append(values) or summing(values)
        )
        for _ in range(steps):
            log.clear()
            step(of, model, [lambda: model(x).sum(), lambda: model(x).square().sum()])
    return seen


def test_buckets_leave_in_the_last_terms_backward_from_the_second_step_on(tmp_path: Path) -> None:
    for found in on_two(lambda: sent_before(chain(2, 2, 2, 2), torch.ones(1, 2), 2), tmp_path):
        assert found == [0, 0, 0, 2]


def test_buckets_wait_where_layers_exchange_in_their_backward(tmp_path: Path) -> None:
    def found() -> list[int]:
        model = sync_norms(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2)))
        return sent_before(model, torch.eye(2), 2)

    assert on_two(found, tmp_path) == [[0, 0, 0, 0]] * 2


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_hooks_see_compiled_steps_and_not_those_of_copies(compiled: bool, tmp_path: Path) -> None:
    model = chain(2, 2, 2)
    if compiled:
        model.compile(backend="aot_eager")
        model(torch.ones(1, 2)).sum().backward()  # before forking, so that it is done once

    def found() -> list[Gradients]:
        of, x = GradientExchange(model), torch.ones(1, 2)
        twin = copy.deepcopy(model)

        def term() -> Tensor:
            twin(x).sum().backward()
            return (ranks.rank() + 1) * model(x).sum()

        return [step(of, model, [term]) for _ in range(3)]

    for each in on_two(found, tmp_path):
        for gradients in each:
            assert all(g is not None and (g == 6).all() for g in gradients)


def test_running_statistics_are_averaged_by_the_samples_of_each_rank(tmp_path: Path) -> None:
    def averaged() -> float:
        norm = nn.BatchNorm1d(1)
        assert norm.running_mean is not None
        norm.running_mean.fill_(ranks.rank() + 1)
        of = GradientExchange(norm)
        of.begin()
        of.finish(3 - ranks.rank(), 5)  # 3 and 2 samples
        return norm.running_mean.item()

    assert on_two(averaged, tmp_path) == [pytest.approx((3 * 1 + 2 * 2) / 5)] * 2
