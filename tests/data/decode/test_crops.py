"""Crops and resizes are torchvision's, pixel by pixel; random boxes are distributed as its are."""

import io
import math
import subprocess
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import photos
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torch import Tensor
from torch.nn import functional as F
from torchvision import transforms
from torchvision.transforms import functional
from wording import says

from vicinal.data.decode import gpu
from vicinal.data.decode.crops import CorruptError, Crop, content, render, rgb
from vicinal.data.decode.gpu import GpuDecoder, cropped
from vicinal.data.decode.pool import DecodeTask, InProcessDecoder
from vicinal.errors import RunError

CROP = Crop(size=24, resize=28)
SHAPES = [(40, 40), (75, 50), (50, 75), (37, 91), (91, 37), (28, 28), (20, 24), (400, 30)]


def image(width: int, height: int) -> Image.Image:
    whole = photos.originals()[0]
    return whole.crop((70, 90, 70 + width, 90 + height))


def encoded(content: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    content.save(file, form, **options)
    return file.getvalue()


def same(first: Image.Image, second: Image.Image) -> bool:
    return np.array_equal(np.asarray(first), np.asarray(second))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_training_crop_is_torchvisions_resized_crop_of_its_box(shape: tuple[int, int]) -> None:
    whole = image(*shape)
    for seed in range(20):
        left, top, width, height = CROP.box(*shape, Random(seed))
        expected = functional.resized_crop(whole, top, left, height, width, [24, 24])
        assert same(CROP(whole, seed), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size", "resize"), [(24, 28), (24, 24), (23, 28), (25, 28)])
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
def test_an_evaluation_crop_is_torchvisions_resize_and_centre_crop(
    shape: tuple[int, int], size: int, resize: int, how: Literal["bilinear", "bicubic"]
) -> None:
    resized = transforms.Resize(resize, transforms.InterpolationMode(how))
    theirs = transforms.Compose([resized, transforms.CenterCrop(size)])
    assert same(Crop(size, resize, interpolation=how)(image(*shape), None), theirs(image(*shape)))


def literal_box(width: int, height: int, draws: Random) -> tuple[int, int, int, int]:
    """torchvision's RandomResizedCrop.get_params, with numbers from `draws`."""
    for _ in range(10):
        area = width * height * (0.08 + 0.92 * draws.random())
        low, high = math.log(3 / 4), math.log(4 / 3)
        ratio = math.exp(low + (high - low) * draws.random())
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            i = int(draws.random() * (height - h + 1))
            j = int(draws.random() * (width - w + 1))
            return j, i, w, h
    if width / height < 3 / 4:
        w, h = width, round(width / (3 / 4))
    elif width / height > 4 / 3:
        w, h = round(height * (4 / 3)), height
    else:
        w, h = width, height
    return (width - w) // 2, (height - h) // 2, w, h


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1), (3, 200), (1000, 4)])
def test_a_box_is_the_one_that_torchvisions_steps_make_of_its_draws(shape: tuple[int, int]) -> None:
    for seed in range(300):
        assert CROP.box(*shape, Random(seed)) == literal_box(*shape, Random(seed))


@pytest.mark.parametrize("shape", [(75, 50), (37, 91)])
def test_boxes_are_distributed_as_torchvisions(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    blank = torch.empty(3, shape[1], shape[0])
    scale, ratio = [0.08, 1.0], [3 / 4, 4 / 3]
    get = transforms.RandomResizedCrop.get_params
    theirs = np.array([get(blank, scale, ratio) for _ in range(2000)])
    ours = np.array([CROP.box(*shape, Random(seed)) for seed in range(2000)])[:, [1, 0, 3, 2]]
    for column in range(4):  # top, left, height, width
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_other_modes_are_converted_as_torchvisions_loader_does(mode: str) -> None:
    form = "JPEG" if mode in ("L", "CMYK") else "PNG"
    data = encoded(image(30, 20).convert(mode), form)
    assert same(rgb(data), Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot identify image file"),
        (b"<html>Not found</html>", "cannot identify image file"),
        (encoded(image(60, 60), "JPEG")[:900], "truncated"),
        (encoded(Image.fromarray(np.full((9, 9), 40_000, np.uint16))), "8 bits ... I;16"),
    ],
)
def test_what_is_no_whole_image_is_corrupt_with_pillows_reason(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptError, match=says(reason)):
        rgb(data)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"size": 0}, "size ... 1 ... 0"),
        ({"resize": 20}, "resize ... 24 ... 20"),
        ({"scale": (0.0, 1.0)}, "scale ... [0.0, 1.0]"),
        ({"scale": (0.5, 0.4)}, "scale ... [0.5, 0.4]"),
        ({"ratio": (2.0, 1.0)}, "ratio ... [2.0, 1.0]"),
    ],
)
def test_what_cannot_be_cropped_is_refused(settings: dict, rule: str) -> None:
    with pytest.raises(ValueError, match=says(rule)):
        Crop(**({"size": 24, "resize": 28} | settings))


def test_a_worker_imports_no_torch() -> None:
    code = "import sys, vicinal.data.decode.worker; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], text=True, check=True, capture_output=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_the_gpus_crop_is_pillows_to_a_level(seed: int | None) -> None:
    """On the CPU, where torchvision decodes to Pillow's pixels."""
    whole = image(75, 50)
    theirs = torch.from_numpy(np.array(CROP(whole, seed))).permute(2, 0, 1)
    (ours,) = cropped(CROP, [functional.pil_to_tensor(whole)], [seed])
    assert (ours.int() - theirs.int()).abs().max() <= 1


@pytest.mark.parametrize(("seed", "together"), [(None, [3, 1, 1]), (7, [4, 1])])
def test_the_gpu_crops_a_batch_as_it_does_each_image(
    seed: int | None, together: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of one shape with one call, and all in their order."""
    sizes = [(75, 50), (40, 60), (75, 50), (50, 75), (75, 50)]
    images = [functional.pil_to_tensor(image(*size)) + i for i, size in enumerate(sizes)]
    seeds = [seed] * 5
    alone = [cropped(CROP, [one], [seed])[0] for one, seed in zip(images, seeds, strict=True)]
    calls: list[int] = []

    def interpolate(x: Tensor, *given: Any, **more: Any) -> Tensor:
        calls.append(len(x))
        return F.interpolate(x, *given, **more)

    monkeypatch.setattr(gpu, "F", SimpleNamespace(interpolate=interpolate))
    assert torch.equal(cropped(CROP, images, seeds), torch.stack(alone))
    assert calls == together


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, torch.AcceleratorError])
def test_a_device_that_fails_is_not_taken_for_a_damaged_file(
    error: type[RuntimeError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain.jpg").write_bytes(encoded(image(60, 45), "JPEG"))

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(gpu, "decode_jpeg", fail)
    tasks = [DecodeTask(0, str(tmp_path / "plain.jpg"), 0)]
    with pytest.raises(error):
        next(GpuDecoder("cpu")(CROP, [tasks], lambda task, _: task))


@pytest.mark.filterwarnings("ignore:The image decoding .* of TorchVision are deprecated")
def test_the_gpu_leaves_to_pillow_what_is_no_plain_jpeg(tmp_path: Path) -> None:
    """A batch with a PNG, a CMYK file and a damaged one, which is replaced."""
    whole = image(60, 45)
    contents = {
        "plain.jpg": encoded(whole, "JPEG"),
        "cmyk.jpg": encoded(whole.convert("CMYK"), "JPEG"),
        "png.jpg": encoded(whole),
        "cut.jpg": encoded(whole, "JPEG")[:700],
        "grey.jpg": encoded(whole.convert("L"), "JPEG"),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    tasks = [DecodeTask(row, str(tmp_path / name), row) for row, name in enumerate(contents)]

    def replace_corrupt(task: DecodeTask, reason: str) -> DecodeTask:
        assert task.path.endswith("cut.jpg")
        assert "truncated" in reason.lower()
        return task._replace(path=str(tmp_path / "plain.jpg"))

    (ours,) = GpuDecoder("cpu")(CROP, [tasks], replace_corrupt)
    (theirs,) = InProcessDecoder()(CROP, [tasks], replace_corrupt)
    assert (ours.int() - theirs.int()).abs().amax((1, 2, 3)).tolist()[1:3] == [0, 0]
    assert (ours.int() - theirs.int()).abs().max() <= 1


def test_what_the_system_does_not_hand_out_is_not_called_corrupt(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=says("gone.jpg ... No such file")) as found:
        render(CROP, str(tmp_path / "gone.jpg"), None)
    assert not isinstance(found.value, CorruptError)


def test_a_part_of_an_archive_is_read_like_a_file(tmp_path):
    archive = tmp_path / "old.tar" / "noise.tar"
    archive.parent.mkdir()
    archive.write_bytes(b"before" + b"content" + b"after")
    assert content(f"{archive}/fog/1/x!y/a.JPEG!6+7") == b"content"
    other = tmp_path / "a.tar!6+7"
    other.write_bytes(b"file")
    assert content(str(other)) == b"file"
    with pytest.raises(RunError, match=says("gone.tar/a.JPEG!6+7")):
        content(f"{tmp_path}/gone.tar/a.JPEG!6+7")
