"""Two processes train as one does: what they share, what they draw, what becomes of a lost one."""

import contextlib
import copy
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from two_ranks import SMALL, on_two
from wording import says

import vicinal
from vicinal.cli.configs import CONFIGS, build, compose, resolved
from vicinal.contracts import Method
from vicinal.data.batches import Batches
from vicinal.data.split import Data, Split
from vicinal.draws import Rng
from vicinal.errors import PreemptedError
from vicinal.evaluation.clean import Clean
from vicinal.loop import Loop
from vicinal.machine import ranks
from vicinal.machine.runtime import Runtime
from vicinal.machine.signals import stopping
from vicinal.machine.synced_norms import sync_norms
from vicinal.methods.erm import Erm
from vicinal.models.normalized import Normalized
from vicinal.models.wide_resnet import WideResNet
from vicinal.optim import Sgd
from vicinal.run import Run
from vicinal.schedules import Constant, Schedule
from vicinal.storage import checkpoints, records, run_folder, weights
from vicinal.storage.history import Jsonl
from vicinal.storage.run_folder import RunFolder
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
METHODS = sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
BATCH = 8
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
    "shakedrop": ["method.survival=1"],
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
    attacks = [name for name in ("steps", "draws") if hasattr(run.method, name)]
    return replace(run.method, **dict.fromkeys(attacks, 2))  # pyright: ignore


def data(count: int, unlabelled: int = 9) -> Data:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 3, 8, 8, generator=generator)
    split = Split(x, torch.arange(count) % 4)
    few = split[torch.arange(unlabelled) % count]
    return Data(split, split, None, 4, (0.5,) * 3, (0.2,) * 3, {}, None, few)


def network(norms: bool, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    body = WideResNet(10, 1, num_classes=4, shape=(3, 8, 8))
    if not norms:
        for name, module in list(body.named_modules()):
            if isinstance(module, nn.BatchNorm2d):
                body.set_submodule(name, nn.Identity())
    return Normalized(body, (0.5,) * 3, (0.2,) * 3)


def loop(
    method: Method, samples: Data, *, norms: bool, synced: bool = False, seed: int = 0
) -> Loop:
    model = method.prepare(network(norms, seed))
    schedule = Schedule(epochs=2, batch_size=BATCH, curve=Constant())
    return Loop(
        sync_norms(model) if synced else model,
        method.attach(samples),
        Batches(samples.train, 4, BATCH, Identity(), 0, samples.unlabelled),
        optimizer=Sgd(lr=0.05, weight_decay=0.1, ema_decay=0.5),
        schedule=schedule,
        runtime=Runtime(device="cpu"),
        rng=Rng.seeded(0, ranks.rank()),
    )


def trained(of: Loop) -> dict[str, Any]:
    """The weights and losses after two epochs."""
    losses = []
    for _ in range(2):
        for _ in of.steps():
            pass
        losses.append(of.close_epoch()["train_loss"])
    return {"state": of.model.state_dict(), "average": of.network.state_dict(), "losses": losses}


def shares_in_turn(method: Method, samples: Data) -> dict[str, Tensor]:
    """One process that does what the two would, written out: the weights after two epochs."""
    loops = [loop(method, samples, norms=False) for _ in range(2)]
    rngs = [Rng.seeded(0, rank) for rank in range(2)]
    for epoch in range(2):
        whole = Batches(samples.train, 4, BATCH, Identity(), 0)
        for x, y, rows in whole.epoch(epoch, 0, Rng.seeded(0)):
            for rank, (one, rng) in enumerate(zip(loops, rngs, strict=True)):
                own = torch.arange(len(x)).tensor_split(2)[rank]
                more = {"rows": rows[own]}
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
@pytest.mark.parametrize("name", METHODS)
def test_two_ranks_train_as_one_process_on_their_two_shares(name: str, tmp_path: Path) -> None:
    """With the draws of each; 13 samples in batches of 8, so that the last shares are 3 and 2."""
    method, samples = method_of(name), data(13)
    expected = shares_in_turn(method, samples)
    torch.manual_seed(1)
    found = on_two(lambda: trained(loop(method, samples, norms=False)), tmp_path)
    for key, value in expected.items():
        torch.testing.assert_close(found[0]["state"][key], value, rtol=1e-9, atol=1e-9)
        assert torch.equal(found[0]["state"][key], found[1]["state"][key])


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("norms", [False, True], ids=["without BatchNorm", "with it synchronised"])
@pytest.mark.parametrize("name", PLAIN)
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


@pytest.mark.parametrize("name", METHODS)
def test_what_draws_nothing_is_held_to_the_whole_batch(name: str) -> None:
    """Ranks draw alike exactly where PLAIN has an entry."""
    smaller = ["method.vicinity.length=3"] if name == "maxup_cutout" else []  # than the images
    method, samples = method_of(name, *PLAIN.get(name, smaller)), data(8)
    x, y = samples.train.x, nn.functional.one_hot(samples.train.y, 4).float()
    more = {"rows": torch.arange(8), "unlabelled": x.flip(0)}
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


def test_all_start_from_the_first_ranks_weights_and_buffers(tmp_path: Path) -> None:
    def started() -> dict[str, Tensor]:
        norm = nn.BatchNorm1d(2)
        for values in (norm.weight.data, norm.running_mean, norm.running_var):
            assert values is not None
            values.fill_(ranks.rank() + 2)
        ranks.broadcast_parameters(norm)
        return norm.state_dict()

    for found in on_two(started, tmp_path):
        for key in ("weight", "running_mean", "running_var"):
            assert found[key].tolist() == [2, 2]


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


def test_the_first_rank_hears_of_the_images_that_others_replaced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def saved() -> dict[str, str]:
        own = {f"{ranks.rank()}.jpg": f"{ranks.rank()}.jpg is replaced"}
        folder = RunFolder(tmp_path / "run", 0.0, {}, own)
        folder.save(loop(Erm(Identity()), data(13), norms=False))
        state = ranks.broadcast_object(folder.checkpoints.load)
        assert state is not None
        return state["replaced"]

    everything = {f"{rank}.jpg": f"{rank}.jpg is replaced" for rank in (0, 1)}
    assert on_two(saved, tmp_path) == [everything, everything]
    assert capfd.readouterr().err.count("1.jpg is replaced") == 1


def test_only_the_first_rank_is_asked_what_all_are_told(tmp_path: Path) -> None:
    def asked() -> tuple[str, list[int]]:
        heard: list[int] = []
        told = ranks.broadcast_object(lambda: heard.append(ranks.rank()) or "so")
        return told, heard

    assert on_two(asked, tmp_path) == [("so", [0]), ("so", [])]


def test_a_signal_to_one_rank_stops_all_after_a_checkpoint(tmp_path: Path) -> None:
    def stopped() -> None:
        with stopping() as stop:
            if ranks.rank() == 1:
                os.kill(os.getpid(), signal.SIGUSR2)
            with pytest.raises(PreemptedError, match="SIGUSR2"):
                stop.obey(ranks.barrier)  # as saving does, it takes them all

    on_two(stopped, tmp_path)


def execute(out: Path, *overrides: str) -> dict[str, Any]:
    """A run as the command line makes it; its record."""
    config = compose(*SMALL, *overrides, f"out={out}", f"results={out}/results")
    run: Run = build(config)
    run.execute(resolved(config), {"model": "wrn10_2", "method": "some"})
    ranks.barrier()
    (path,) = out.rglob("record.json")
    return json.loads(path.read_text())


class KilledError(Exception):
    """Stands for SIGKILL."""


def seen_until(out: Path, stop: int, *overrides: str) -> list[Tensor]:
    """The rows of each step, of all ranks in their order, of a run that is killed at a step."""
    seen: list[Tensor] = []
    step, save = Loop.step, RunFolder.save_if_due

    def watched(self: Loop, x: Tensor, y: Tensor, rows: Tensor, samples: int) -> None:
        seen.append(torch.cat(ranks.all_gather_object(rows)))
        step(self, x, y, rows, samples)

    def killing(self: RunFolder, of: Loop) -> None:
        save(self, of)
        if of.steps_done == stop:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "step", watched)
        patch.setattr(RunFolder, "save_if_due", killing)
        with contextlib.suppress(KilledError):
            execute(out, *overrides)
    return seen


def test_the_order_of_samples_is_one_on_1_then_2_then_1_ranks(tmp_path: Path) -> None:
    """60 samples in batches of 24: the last of an epoch has 12."""
    whole = seen_until(tmp_path / "whole", 0, "method=mixup")
    out = tmp_path / "changing"
    seen = seen_until(out, 2, "method=mixup")
    first, second = on_two(lambda: seen_until(out, 4, "method=mixup"), tmp_path)
    assert len(first) == 2
    assert all(map(torch.equal, first, second))
    seen += [*first, *seen_until(out, 0, "method=mixup")]
    assert len(seen) == len(whole) == 6
    assert all(map(torch.equal, seen, whole))
    record = json.loads(next(out.rglob("record.json")).read_text())
    assert [session["ranks"] for session in record["sessions"]] == [1, 2, 1]
    assert [session["from_step"] for session in record["sessions"]] == [0, 2, 4]


@pytest.mark.parametrize("settings", [["method=maxup_cutmix"], ["runtime.sync_batchnorm=true"]])
def test_two_ranks_resume_as_if_they_never_stopped(settings: list[str], tmp_path: Path) -> None:
    settings = [*settings, "optimizer.ema_decay=0.5"]

    def stopped_and_resumed() -> dict[str, Any]:
        for stop in (1, 4):
            seen_until(tmp_path / "stopped", stop, *settings)
        torch.manual_seed(99)
        return execute(tmp_path / "stopped", *settings)

    def without_time(record: dict[str, Any]) -> dict[str, Any]:
        curves = {key: value for key, value in record["curves"].items() if key != "seconds"}
        return {"metrics": record["metrics"], "curves": curves}

    whole = on_two(lambda: execute(tmp_path / "whole", *settings), tmp_path)
    resumed = on_two(stopped_and_resumed, tmp_path)
    for each in [*whole, *resumed]:
        assert without_time(each) == without_time(whole[0])
    assert [session["from_step"] for session in resumed[0]["sessions"]] == [0, 1, 4]


def test_a_rank_that_left_has_no_thread_that_would_wait_for_others(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(
        "from pathlib import Path\n"
        "from vicinal.machine import ranks\n"
        "ranks.join('cpu')\n"
        "import torch._dynamo\n"  # as the first optimizer does
        "ranks.leave()\n"
        "names = [path.read_text() for path in Path('/proc/self/task').glob('*/comm')]\n"
        "assert not any('gloo' in name for name in names), names\n"
    )
    job = torchrun(str(script))
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 0, errors


def test_only_the_first_rank_writes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("this rank must not write")

    def twice() -> None:
        if not ranks.is_main():
            for module in (checkpoints, run_folder, records, weights):
                for name in ("write_bytes_atomically", "write_json_atomically", "locked"):
                    if hasattr(module, name):
                        setattr(module, name, refuse)
            Jsonl.sync = refuse
        execute(tmp_path / "out")
        execute(tmp_path / "out")

    on_two(twice, tmp_path)
    assert capfd.readouterr().out.count("finished") == 1
    (record,) = (tmp_path / "out").rglob("record.json")
    assert len(list(record.parent.glob("weights/*.safetensors"))) == len(
        json.loads(record.read_text())["weights"]
    )


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    def refused() -> str:
        with pytest.raises(ValueError, match="multiple") as found:
            execute(tmp_path / "out", "schedule.batch_size=25")
        return str(found.value)

    said = says("^schedule.batch_size ... multiple ... 2 ranks ... 25")
    assert all(re.search(said, each) for each in on_two(refused, tmp_path))
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_on_one_rank_stops_both(tmp_path: Path) -> None:
    method = Erm(Identity())

    def stopped() -> str:
        samples = data(16)
        spoilt = replace(samples.train, x=samples.train.x / ranks.rank())  # of rank 0
        samples = replace(samples, train=spoilt)
        with pytest.raises(Exception, match=says("loss ... finite ... step 1")) as found:
            trained(loop(method, samples, norms=False))
        return str(found.value)

    first, second = on_two(stopped, tmp_path)
    assert first == second


def test_each_rank_draws_for_itself_but_for_what_they_share(tmp_path: Path) -> None:
    def drawn() -> dict[str, Tensor]:
        config = compose(*SMALL)
        run: Run = build(config)
        of = run.loop(run.dataset.load())
        x, y = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.eye(8)
        return {
            "device": torch.randn(9, generator=of.rng.device),
            "layers": torch.rand(9),
            "mixed": Mixup()(x, y, of.rng)[0],
            "shared": torch.rand(9, generator=of.rng.shared),
            "weights": torch.cat([p.detach().flatten() for p in of.model.parameters()]),
        }

    found = on_two(drawn, tmp_path, 3)
    alone = drawn()
    for key, value in found[0].items():
        assert torch.equal(value, alone[key])
        for one, other in combinations(found, 2):
            assert torch.equal(one[key], other[key]) == (key in ("shared", "weights")), key


def test_only_one_module_knows_torch_distributed() -> None:
    source = Path(vicinal.__file__).parent
    found = [p.name for p in source.rglob("*.py") if "distributed" in p.read_text()]
    assert found == ["ranks.py"]


@pytest.mark.parametrize("count", [1, 25, 41])
def test_every_test_image_counts_once(count: int, tmp_path: Path) -> None:
    samples, model = data(count).test, network(norms=True)
    evaluation, seen = Clean(batch_size=10), 0

    def measured() -> tuple[dict[str, float], int]:
        nonlocal seen
        handle = model.register_forward_hook(lambda _m, _x, y: count_up(len(y)))
        found = evaluation(model, samples)
        handle.remove()
        return found, seen

    def count_up(images: int) -> None:
        nonlocal seen
        seen += images

    expected, _ = measured()
    seen = 0
    found = on_two(measured, tmp_path)
    assert [numbers for numbers, _ in found] == [expected, expected]
    assert sum(images for _, images in found) == count


def torchrun(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", *arguments]
    pipe = subprocess.PIPE
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, text=True, stdout=pipe, stderr=pipe, env=environment)


def test_a_rank_that_fails_ends_the_job_with_its_own_error(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import os\n"
        "from vicinal.errors import RunError\n"
        "from vicinal.loop import Loop\n"
        "from vicinal.train import main\n"
        "whole = Loop.check_weights\n"
        "def failing(self):\n"
        "    if os.environ['RANK'] == '1' and self.steps_done == 2:\n"
        "        raise RunError('the moon is full')\n"
        "    whole(self)\n"
        "Loop.check_weights = failing\n"
        "main()\n"
    )
    paths = [f"out={tmp_path}/out", f"results={tmp_path}/results"]
    job = torchrun(str(script), *SMALL, *paths)
    _, errors = job.communicate(timeout=120)
    assert job.returncode != 0
    assert "vicinal (rank 1): the moon is full" in errors
    assert "in check_weights" not in errors  # no traceback of ours
