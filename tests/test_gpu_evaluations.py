"""What only a CUDA device can show of evaluations; skipped where there is none."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from corruption_samples import photographs
from whole_runs import execute

from vicinal.data.shifted.deformed import DEFORMATIONS, Deformed
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.images.corruptions.corrupt import COMMON, EXTRA, corrupted

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
            "evaluation=[deformed,spatial,activations,between]",
            "evaluation.between.pairs=200",
            *("runtime.precision=fp32", "runtime.compile=false", f"runtime.device={kind}"),
        )
        found.append({each["name"]: each["metrics"] for each in record["evaluations"].values()})
    for name, numbers in found[0].items():
        assert found[1][name] == pytest.approx(numbers, rel=0.02, abs=2)
