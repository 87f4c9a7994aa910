"""What only a CUDA device can show; skipped where there is none."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import jaxtyping
import photos
import pytest
import torch
from composing import DETECTION, METHODS, TEXT, compose
from detection_samples import SMALL as DRAWN
from detection_samples import drawn_set
from torch import Tensor
from torch.nn import functional as F

from vicinal.cli.configs import build, resolved
from vicinal.contracts import Vicinity
from vicinal.data.decode.select import decoder_for
from vicinal.data.streamed_images import StreamedImages
from vicinal.data.text import Text, TextData
from vicinal.draws import Rng
from vicinal.loop import Loop
from vicinal.run import Run
from vicinal.vicinities.crop_flip import CropFlip
from vicinal.vicinities.cutmix import CutMix
from vicinal.vicinities.cutout import Cutout
from vicinal.vicinities.mixup import Mixup

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
WAITING = {"puzzlemix"}  # its minimum cut is the CPU's


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes are not checked in what is compiled."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(32, 3, 32, 32, generator=generator)
    return x, F.one_hot(torch.randint(10, (32,), generator=generator), 10).float()


@pytest.mark.parametrize(
    "vicinity",
    [Mixup(), Mixup(per="sample"), CutMix(), Cutout(length=8), Cutout(per="batch"), CropFlip()],
    ids=repr,
)
def test_small_draws_are_those_of_the_cpu(vicinity: Vicinity) -> None:
    x, y = batch()
    on_cpu = vicinity(x, y, Rng.seeded(0))
    on_gpu = vicinity(x.cuda(), y.cuda(), Rng.seeded(0, device="cuda"))
    for expected, found in zip(on_cpu, on_gpu, strict=True):
        torch.testing.assert_close(found.cpu(), expected)


def loop(method: str, *settings: str) -> Loop:
    task = "dataset=digits", "model=wrn16_4", f"method={method}", "runtime=cuda"
    run: Run = build(compose(*task, *settings))
    run.runtime.start()
    data = run.dataset.load()
    return run.loop(replace(data, unlabelled=data.test).to("cuda"))


@pytest.mark.parametrize(
    "lines",
    [*([name] for name in sorted({*METHODS} - WAITING)), ["erm", "optimizer.ema_decay=0.999"]],
    ids=" ".join,
)
def test_a_step_never_waits_for_the_device(lines: list[str]) -> None:
    assert_never_waits(loop(*lines, "runtime.compile=false"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", TEXT)
def test_a_step_on_text_never_waits_for_the_device(method: str, precision: str) -> None:
    small = "model.embedding=40 model.hidden=60 schedule.batch_size=8".split()
    machine = "runtime=cuda", f"runtime.precision={precision}"
    run: Run = build(compose("dataset=ptb", f"method={method}", *small, *machine))
    run.runtime.start()
    text = Text(torch.randint(50, (8 * 1000,), generator=torch.Generator().manual_seed(0)))
    assert_never_waits(run.loop(TextData(text, text, text, 50, {}).to("cuda")))


def assert_never_waits(trained: Loop) -> None:
    steps = trained.steps()
    for _ in range(3):  # what is done once may wait
        next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            next(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    trained.check()


@pytest.mark.parametrize("method", DETECTION)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_detector_trains_and_finds_as_on_the_cpu(
    method: str, compiled: bool, tmp_path: Path
) -> None:
    """Losses of the first step, up to the rounding of other kernels; then a measurement in bf16."""
    pytest.importorskip("pycocotools")
    where = "dataset=detection", f"dataset.root={drawn_set(tmp_path)}", f"method={method}", *DRAWN
    losses = []
    for device in ("cpu", "cuda"):
        form = f"runtime={device}", "runtime.precision=fp32", f"runtime.compile={compiled}"
        run: Run = build(compose(*where, *(form if device == "cuda" else form[:1])))
        data = run.dataset.load().to(run.runtime.target, decoder_for(run.runtime))
        trained = run.loop(data)
        for _ in islice(trained.steps(), 1):
            pass
        losses.append(trained.close_epoch()["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=0.05)  # torch samples regions on each device
    run = build(compose(*where, "runtime=cuda", f"runtime.compile={compiled}"))
    data = run.dataset.load().to(run.runtime.target, decoder_for(run.runtime))
    trained = run.loop(data)
    for _ in trained.steps():
        pass
    assert "test_average_precision" in run.measure(trained.network, data)


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("method", [*METHODS, "gradaug method.widths_step=0.05"])
def test_compiled_steps_lose_what_the_uncompiled_lose(method: str, graphs: bool) -> None:
    """In full precision, up to the rounding of other kernels."""
    losses = []
    for compiled in (False, True):
        form = f"runtime.compile={compiled}", f"runtime.cuda_graphs={compiled and graphs}"
        trained = loop(*method.split(), "runtime.precision=fp32", "optimizer.lr=0.01", *form)
        for _ in islice(trained.steps(), 6):
            pass
        losses.append(trained.close_epoch()["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


FORMS = [("erm", True), *((method, False) for method in sorted({*METHODS} - {"advmax"}))]


@pytest.mark.parametrize(("method", "compiled"), FORMS)
def test_deterministic_runs_repeat_themselves(method: str, compiled: bool) -> None:
    """But for AdvMax's: see test_deterministic.py."""
    weights = []
    for _ in range(2):
        trained = loop(method, "runtime.deterministic=true", f"runtime.compile={compiled}")
        for _ in islice(trained.steps(), 4):
            pass
        weights.append(trained.model.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_precisions_and_layouts_train_alike(tmp_path: Path) -> None:
    accuracies = {}
    for precision, channels_last in (("fp32", False), ("bf16", True)):
        out = tmp_path / precision
        config = compose(
            "dataset=digits",
            "model=wrn16_4",
            "runtime=cuda",
            f"runtime.precision={precision}",
            f"runtime.channels_last={channels_last}",
            "schedule.epochs=10",
            "schedule.batch_size=32",
            f"out={out}",
            f"results={out}/results",
        )
        run: Run = build(config)
        choices = {"model": "wrn16_4", "method": "erm"}
        accuracies[precision] = run.execute(resolved(config), choices)
    assert accuracies["fp32"] > 95
    assert abs(accuracies["fp32"] - accuracies["bf16"]) < 3


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize(
    "task",
    [
        "dataset=digits dataset.crop_padding=0 model=wrn16_4 runtime.sync_batchnorm=true",
        "dataset=uci_iris model=mlp",  # compiled, and gradients leave during the backward
    ],
)
def test_two_gpus_train_as_one(task: str, tmp_path: Path) -> None:
    """Without draws and with BatchNorm over both, up to rounding."""
    train = Path(__file__).parents[1] / "train.py"
    form = "runtime=cuda runtime.precision=fp32 schedule.epochs=3 schedule.batch_size=64"
    settings = [*task.split(), *form.split(), "optimizer.lr=0.01"]
    losses = []
    for count in (1, 2):
        out = tmp_path / str(count)
        command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={count}"]
        paths = [f"out={out}", f"results={out}/results"]
        subprocess.run([*command, str(train), *settings, *paths], check=True)
        (record,) = out.rglob("record.json")
        found = json.loads(record.read_text())
        assert found["sessions"][0]["ranks"] == count
        losses.append(found["curves"]["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


def streamed(root: Path, decode: str) -> list[Tensor]:
    lines = [f"dataset.root={root}", "dataset.size=64", "dataset.resize=72", "runtime=cuda"]
    run: Run = build(compose("dataset=image_stream", *lines, f"runtime.decode={decode}"))
    data = run.dataset.load().to("cuda", decoder_for(run.runtime))
    rows = list(torch.arange(len(data.train)).split(8))
    batches = [*data.train.batches(rows, (0, 1)), *data.train.batches(rows)]
    assert all(each.is_cuda for batch in batches for each in batch)
    return [x.cpu() for x, _, _ in batches]


@pytest.mark.filterwarnings("ignore:The image decoding .* of TorchVision are deprecated")
def test_streamed_images_are_those_of_the_cpu_and_nvjpegs_nearly(tmp_path: Path) -> None:
    root = photos.folder(tmp_path / "set", train=10, side=90)
    expected, pinned, decoded = [], streamed(root, "cpu"), streamed(root, "gpu")
    train = StreamedImages(root=str(root), size=64, resize=72, mean=[0.5] * 3, std=[0.2] * 3)
    for key in ((0, 1), None):
        rows = list(torch.arange(30).split(8))
        expected += [x for x, _, _ in train.load().train.batches(rows, key)]
    for ours, theirs, nearly in zip(expected, pinned, decoded, strict=True):
        assert torch.equal(ours, theirs)
        assert (ours.int() - nearly.int()).abs().double().mean() < 2
