"""What only a CUDA device can show of evaluations; skipped where there is none."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import jaxtyping
import pytest
import torch
from corruption_samples import photographs
from evaluation_samples import data
from every_attack import ATTACKS, batch, made, small
from whole_runs import execute

from vicinal.data.shifted.deformed import DEFORMATIONS, Deformed
from vicinal.data.split import Split
from vicinal.draws import Rng, RowDraws
from vicinal.evaluation.certified import Certified
from vicinal.images.corruptions.corrupt import COMMON, EXTRA, corrupted
from vicinal.machine.runtime import Runtime

GPU = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
EXACT = ("defocus_blur", "zoom_blur", "gaussian_blur", "brightness", "contrast", "saturate")


@pytest.mark.parametrize("name", [*COMMON, *EXTRA])
def test_images_are_corrupted_on_the_gpu_as_on_the_cpu_but_for_the_draws(name: str) -> None:
    if name == "frost" and find_spec("imagecorruptions") is None:
        pytest.skip("its pictures come with imagecorruptions")
    x = photographs(32, 8)
    found = corrupted(name, 3, x.to(GPU), Rng.seeded(0, device=GPU))
    assert found.device.type == GPU
    difference = (found.cpu().int() - corrupted(name, 3, x, Rng.seeded(0)).int()).abs()
    if name in EXACT:
        assert difference.max() <= 1
        assert (difference > 0).float().mean() < 0.01
    assert difference.float().mean() < 64


@pytest.mark.parametrize("name", list(DEFORMATIONS))
def test_images_are_deformed_on_the_gpu_to_the_pixel(name: str) -> None:
    rows, images = torch.arange(16), Split(photographs(32, 16), torch.arange(16))
    found = []
    for kind in ("cpu", GPU):
        part = Deformed().load(name, images.to(kind), Rng.seeded(0, device=kind))
        ((x, _, _),) = part.batches([rows])
        found.append(x.cpu())
    assert torch.equal(*found)


def test_a_gpu_measures_what_the_cpu_does_from_the_same_weights(tmp_path: Path) -> None:
    execute(tmp_path / "trained")
    found = []
    for kind in ("cpu", GPU):
        shutil.copytree(tmp_path / "trained", tmp_path / f"on_{kind}", dirs_exist_ok=True)
        record = execute(
            tmp_path / f"on_{kind}",
            "evaluation=[deformed,spatial,activations,between,white_box]",
            "evaluation.between.pairs=200",
            *("runtime.precision=fp32", "runtime.compile=false", f"runtime.device={kind}"),
        )
        found.append({each["name"]: each["metrics"] for each in record["evaluations"].values()})
    for name, numbers in found[0].items():
        assert found[1][name] == pytest.approx(numbers, rel=0.02, abs=2)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_never_waits_for_the_device_and_stays_in_the_ball(name: str) -> None:
    model, attack = small().to(GPU), made(name)
    x, y = (each.detach().to(GPU) for each in batch(small()))

    def draws() -> RowDraws:
        return Rng.seeded(0, device=GPU).of_rows(range(len(x)))

    attack(model, x, y, draws())  # what is done once may wait
    own = draws()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = attack(model, x, y, own)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    region = attack.threat.around(model, x)
    assert (region.distance(found) <= region.epsilon * (1 + 1e-5)).all()
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("name", ["fgsm", "ifgsm", "apgd", "ddn", "deepfool", "square"])
def test_of_a_compiled_network_an_attack_finds_what_it_finds_uncompiled(
    name: str, graphs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # within what is compiled
    runtime = Runtime(device=GPU, precision="fp32", cuda_graphs=graphs)
    runtime.start()
    x, y = (each.detach().to(GPU) for each in batch(small()))
    found = []
    for compiles in (False, True):
        network = small().to(GPU)
        model = runtime.evaluated(runtime.compiled(network) if compiles else network)
        draws = Rng.seeded(0, device=GPU).of_rows(range(len(x)))
        images = made(name)(model, x, y, draws)
        found.append(images.clone())
        same = network(images).argmax(1)
        found.append(same)
    first, first_classes, second, second_classes = found
    assert torch.equal(first_classes, second_classes)
    assert (first - second).abs().mean() < 1e-3


def test_certificates_of_a_gpu_are_those_of_the_cpu_but_for_the_draws() -> None:
    certified, found = Certified(0.25, n=3000, every=1, batch_size=1000), []
    for kind in ("cpu", GPU):
        rng = Rng.seeded(0, device=kind)
        found.append(certified(small().to(kind), data(20).to(kind), rng)["mean_radius"])
    assert found[0] > 0
    assert found[1] == pytest.approx(found[0], rel=0.1)


def test_a_steps_memory_is_its_peak_and_grows_with_the_batch(tmp_path: Path) -> None:
    """Of weights, gradients, momentum and what the backward pass needs; not of the data set."""
    brief = [f"evaluation.cost.{key}={value}" for key, value in (("turns", 2), ("steps", 3))]
    lines = "runtime=cuda", "schedule.epochs=0", "evaluation=cost", *brief
    found = []
    for count in (24, 48):
        record = execute(tmp_path, *lines, f"schedule.batch_size={count}", "method=gradaug")
        found += [entry["metrics"] for entry in record["evaluations"].values()]
    for metrics in found:
        weights = 3 * 4 * metrics["parameters"] / 2**20
        for kind in ("erm_memory_mb", "memory_mb"):
            assert weights < metrics[kind] < torch.cuda.get_device_properties(0).total_memory
        assert metrics["memory_ratio"] == metrics["memory_mb"] / metrics["erm_memory_mb"]
        assert metrics["memory_ratio"] < 2  # of four networks, one at a time
        assert all(value > 0 for value in metrics.values())
    assert found[0]["erm_memory_mb"] < found[1]["erm_memory_mb"]
    assert found[0]["multiply_adds"] == found[1]["multiply_adds"]
