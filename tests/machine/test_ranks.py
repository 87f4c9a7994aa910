"""What ranks share and what they draw, and what becomes of a lost one."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
from composing import compose
from torch import Tensor, nn
from two_ranks import SMALL, data, loop, network, on_two, trained
from wording import says

import vicinal
from vicinal.cli.configs import build
from vicinal.errors import PreemptedError
from vicinal.evaluation.clean import Clean
from vicinal.machine import ranks
from vicinal.machine.signals import stopping
from vicinal.methods.erm import Erm
from vicinal.run import Run
from vicinal.storage.run_folder import RunFolder
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


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
                stop.obey(ranks.barrier, str)  # as saving does, it takes them all

    on_two(stopped, tmp_path)


def test_a_rank_that_left_has_no_thread_that_would_wait_for_others(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from two_ranks import on_two
from vicinal.machine import ranks

def left():
    import torch._dynamo  # as the first optimizer does
    ranks.leave()
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]

for names in on_two(left, Path({str(tmp_path)!r})):
    print(*names)
"""
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tests
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert "gloo" not in done.stdout


def test_a_loss_that_is_not_finite_on_one_rank_stops_both(tmp_path: Path) -> None:
    method = Erm(Identity())

    def stopped() -> str:
        samples = data(16)
        damaged = replace(samples.train, x=samples.train.x / ranks.rank())  # of rank 0
        samples = replace(samples, train=damaged)
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
