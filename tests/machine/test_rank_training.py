"""Two processes train as one does, under every method."""

import copy
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import ONE_OF_EACH_CLASS, brief, compose
from torch import Tensor, nn
from two_ranks import BATCH, data, loop, network, on_two, trained
from wording import says

from vicinal.cli.configs import build
from vicinal.contracts import Method
from vicinal.data.batches import Batches
from vicinal.data.dataset import Data
from vicinal.draws import Rng
from vicinal.machine import ranks
from vicinal.machine.synced_norms import sync_norms
from vicinal.methods.erm import Erm
from vicinal.run import Run
from vicinal.vicinities.identity import Identity

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
# Settings with which a method draws nothing for itself and mixes no images, so that a batch's
# gradient is the mean of its halves'. Without an entry a method is held to its shares alone.
PLAIN = {
    "cutout": ["vicinity@method.vicinity=identity"],
    "dropblock": ["method.keep=1"],
    "drop_path": ["method.survival=1"],
    "dropout": ["method.p=0"],
    "erm": [],
    "fat": ["method.epsilon=0.0", "method.omega=0.0"],
    "feature_cutmix": ["vicinity@method.features=identity"],
    "gradaug": [],
    "gradaug_depth": [],
    "gradaug_semi": [],  # of one unlabelled image
    "label_smoothing": [],
    "manifold_mixup": ["vicinity@method.features=identity"],
    "maxup_cutmix": ["vicinity@method.vicinity=label_smoothing"],
    "mean_teacher": [],
    "patchup_soft": ["method.patchup_prob=0"],
    "pgdat": ["method.epsilon=0.0"],
    "scheduled_dropblock": ["method.keep=1"],
    "shakedrop": ["method.survival=1"],
    "smooth_adv": ["vicinity@method.vicinity=identity"],
    "stochastic_depth": [],
}


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def method_of(name: str, *overrides: str) -> Method:
    lines = [f"method={name}", "dataset=digits", "model=wrn10_2", *overrides]
    run: Run = build(compose(*lines))
    if getattr(run.method, "norm", "bn") != "bn":
        run = build(compose(*lines, "method.norm=bn"))
    return brief(run.method)


def shares_in_turn(method: Method, samples: Data) -> dict[str, Tensor]:
    """One process that does what the two would, written out: the weights after two epochs."""
    loops = [loop(method, samples, norms=False) for _ in range(2)]
    rngs = [Rng.seeded(0, rank) for rank in range(2)]
    for epoch in range(2):
        whole = Batches(samples.train, 4, BATCH, Identity(), 0)
        for step, (x, y, rows) in enumerate(whole.epoch(epoch, 0, Rng.seeded(0))):
            progress = (epoch + step / whole.steps(epoch)) / 2
            for rank, (one, rng) in enumerate(zip(loops, rngs, strict=True)):
                own = torch.arange(len(x)).tensor_split(2)[rank]
                more: dict[str, Any] = {"rows": rows[own], "progress": progress}
                if "unlabelled" in method.wants:
                    more["unlabelled"] = one.batches.more(len(own), rng)
                wanted = {name: more[name] for name in method.wants}
                for term in one.method(one.model, x[own], y[own], rng, **wanted):
                    (term * (len(own) / len(x))).backward()
            for pair in zip(*(one.model.parameters() for one in loops), strict=True):
                found = [p.grad for p in pair if p.grad is not None]
                for parameter in pair:
                    parameter.grad = sum(found).clone() if found else None  # pyright: ignore
            for one in loops:
                one.optimizer.param_groups[0]["lr"] = 0.05
                one.optimizer.step()
                one.optimizer.zero_grad()
    return {name: p.detach() for name, p in loops[0].model.named_parameters()}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ONE_OF_EACH_CLASS)
def test_two_ranks_train_as_one_process_on_their_two_shares(name: str, tmp_path: Path) -> None:
    """With the draws of each; 13 samples in batches of 8, so that the last shares are 3 and 2."""
    method, samples = method_of(name), data(13)
    expected = shares_in_turn(method, samples)
    torch.manual_seed(1)
    found = on_two(lambda: trained(loop(method, samples, norms=False)), tmp_path)
    for key, value in expected.items():
        torch.testing.assert_close(found[0]["state"][key], value, rtol=1e-9, atol=1e-9)
        assert torch.equal(found[0]["state"][key], found[1]["state"][key])


def whole_batches() -> Iterator[Any]:
    """Every plain method; without BatchNorm, which can only be easier, but for ERM slow."""
    for name, norms in product(PLAIN, (True, False)):
        marks = [] if norms or name == "erm" else [pytest.mark.slow]
        how = "with BatchNorm synchronised" if norms else "without BatchNorm"
        yield pytest.param(name, norms, marks=marks, id=f"{name}-{how}")


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("name", "norms"), list(whole_batches()))
def test_two_ranks_train_as_one_process_on_the_whole_batch(
    name: str, norms: bool, tmp_path: Path
) -> None:
    """Weights, running statistics, averages and losses; the last batch has 5 samples."""
    method, samples = method_of(name, *PLAIN[name]), data(13, unlabelled=1)
    expected = trained(loop(method, samples, norms=norms))
    found = on_two(lambda: trained(loop(method, samples, norms=norms, synced=norms)), tmp_path)
    for each in found:
        for part in ("state", "average"):
            for key, value in expected[part].items():
                torch.testing.assert_close(each[part][key], value, rtol=1e-7, atol=1e-9)
        assert each["losses"] == pytest.approx(expected["losses"], rel=1e-9)


@pytest.mark.parametrize("name", ONE_OF_EACH_CLASS)
def test_what_draws_nothing_is_held_to_the_whole_batch(name: str) -> None:
    """Ranks draw alike exactly where PLAIN has an entry."""
    smaller = ["method.vicinity.length=3"] if name == "maxup_cutout" else []  # than the images
    method, samples = method_of(name, *PLAIN.get(name, smaller)), data(8)
    x, y = samples.train.x, nn.functional.one_hot(samples.train.y, 4).float()
    more = {"rows": torch.arange(8), "unlabelled": x.flip(0), "progress": 0.5}
    wanted = {key: more[key] for key in method.wants}
    model = method.prepare(network(norms=False))
    state = copy.deepcopy(model.state_dict())
    alike = True
    for seed in range(4):
        losses = []
        for rank in (0, 1):
            model.load_state_dict(state)
            torch.manual_seed(rank)
            terms = method.attach(samples)(model, x, y, Rng.seeded(seed, rank), **wanted)
            losses.append([term.item() for term in terms])
        alike &= losses[0] == losses[1]
        if not alike:
            break
    assert alike == (name in PLAIN)


def test_a_loop_trains_one_network_where_ranks_built_others(tmp_path: Path) -> None:
    def started_otherwise() -> dict[str, Any]:
        of = loop(Erm(Identity()), data(13), norms=True, seed=ranks.rank())
        started = copy.deepcopy(of.model.state_dict())
        return {"start": started, **trained(of)}

    first, second = on_two(started_otherwise, tmp_path)
    expected = network(norms=True).state_dict()
    for key, value in first["start"].items():
        assert torch.equal(value, expected[key]), key
    for part in ("start", "state", "average"):
        for key, value in first[part].items():
            assert torch.equal(value, second[part][key]), key


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("world", "last"), [(2, 1), (3, 1), (2, 2)])
def test_a_batch_of_hardly_a_sample_a_rank_is_trained_on(
    world: int, last: int, tmp_path: Path
) -> None:
    samples = data(8 + last)
    expected = trained(loop(Erm(Identity()), samples, norms=False))
    found = on_two(lambda: trained(loop(Erm(Identity()), samples, norms=False)), tmp_path, world)
    for each in found:
        for key, value in expected["state"].items():
            torch.testing.assert_close(each["state"][key], value, rtol=1e-9, atol=1e-9)
        assert each["losses"] == pytest.approx(expected["losses"], rel=1e-9)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("momentum", [0.1, None])
def test_synchronised_batchnorm_is_batchnorm_of_the_whole_batch(
    momentum: float | None, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    x, slope = (torch.randn(7, 3, 2, 2, generator=generator) + 100 for _ in range(2))
    norm = nn.BatchNorm2d(3, momentum=momentum)
    nn.init.normal_(norm.weight)

    def passed(synced: bool) -> dict[str, Tensor]:
        own = torch.arange(7).tensor_split(ranks.world_size())[ranks.rank()]
        layer = copy.deepcopy(norm)
        layer = sync_norms(layer) if synced else layer
        z = x[own].clone().requires_grad_()
        for _ in range(2):
            y = layer(z)
        (y * slope[own]).sum().backward()
        assert z.grad is not None
        summed = [ranks.all_reduce_(p.grad) for p in layer.parameters() if p.grad is not None]
        assert len(summed) == 2
        names = ("weight", "bias")
        return {"y": y.detach(), "x": z.grad, **dict(zip(names, summed, strict=True))} | dict(
            layer.named_buffers()
        )

    expected = passed(synced=False)
    found = on_two(lambda: passed(synced=True), tmp_path)
    for key, value in expected.items():
        shares = value.tensor_split(2) if key in ("x", "y") else (value, value)
        for each, share in zip(found, shares, strict=True):
            torch.testing.assert_close(each[key], share, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_network_synchronises_as_an_uncompiled_one_does(backend: str) -> None:
    script = Path(__file__).parents[1] / "compiled_ranks.py"
    ended = subprocess.run([sys.executable, script, backend], capture_output=True, check=False)
    assert ended.stdout.decode() == "equal\n", ended.stderr.decode()


def test_synchronised_batchnorm_keeps_layout_and_loses_what_bf16_loses(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    x, slope = (torch.randn(7, 3, 4, 4, generator=generator) + 1 for _ in range(2))
    norm = nn.BatchNorm2d(3)
    nn.init.normal_(norm.weight)

    def passed() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        own = torch.arange(7).tensor_split(2)[ranks.rank()]
        layer = sync_norms(copy.deepcopy(norm))
        z = x[own].to(torch.bfloat16, memory_format=torch.channels_last).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(z)
        (y * slope[own].to(y)).sum().backward()
        assert z.grad is not None
        for each in (y, z.grad):
            assert each.dtype == torch.bfloat16
            assert each.is_contiguous(memory_format=torch.channels_last)
        return y.detach(), z.grad, dict(layer.named_buffers())

    z, exact = x.bfloat16().double().requires_grad_(), copy.deepcopy(norm).double()
    y = exact(z)
    (y * slope.bfloat16().double()).sum().backward()
    found = on_two(passed, tmp_path)
    for number, expected in enumerate((y.detach(), z.grad)):
        joined = torch.cat([each[number] for each in found]).double()
        torch.testing.assert_close(joined, expected, rtol=2e-2, atol=2e-2)
    for name, value in exact.named_buffers():
        torch.testing.assert_close(found[0][2][name], value.to(found[0][2][name]))


def test_a_layer_communicates_once_forward_and_once_backward(tmp_path: Path) -> None:
    def counted() -> list[str]:
        layer, calls = sync_norms(nn.BatchNorm1d(3)), list[str]()
        gather, reduce = ranks.all_gather, ranks.all_reduce_
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                ranks, "all_gather", lambda sent: (calls.append("gather"), gather(sent))[1]
            )
            patch.setattr(ranks, "all_reduce_", lambda sent: (calls.append("sum"), reduce(sent))[1])
            layer(torch.randn(4, 3, requires_grad=True)).square().sum().backward()
        return calls

    assert on_two(counted, tmp_path) == [["gather", "sum"]] * 2


def test_a_batchnorm_of_its_own_kind_is_refused_by_name() -> None:
    class Odd(nn.BatchNorm2d):
        pass

    with pytest.raises(ValueError, match=says("sync_batchnorm ... Odd at 1")):
        sync_norms(nn.Sequential(nn.Conv2d(1, 1, 1), Odd(1)))


def test_without_synchronised_batchnorm_ranks_keep_their_mean_statistics(tmp_path: Path) -> None:
    samples = data(16)
    found = on_two(lambda: trained(loop(Erm(Identity()), samples, norms=True)), tmp_path)
    for part in ("state", "average"):
        for key, value in found[0][part].items():
            assert torch.equal(value, found[1][part][key]), key
