"""Time our decoding of an image folder against torchvision's reference loader on the same folder.

Theirs is ImageFolder, RandomResizedCrop, RandomHorizontalFlip, ToTensor and Normalize in a
DataLoader. Ours is a streamed split as it hands uint8 batches to the device, where flipping and
normalising are a few operations per batch; once more with those done on this CPU, and once with
evaluation's central crops. All run in one process, in turns, with equally many workers. A figure is
the median over rounds of the ratio within a round, on a folder of 500 x 375 parts of real
photographs unless one is given. The parts of the work on one image are timed too; a crop from its
file is the floor of ours, since nothing is handed over.
Writes loader-cpu.json.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_jpeg

from benches.writing import write
from vicinal.contracts import Vicinity
from vicinal.data.batches import Batches
from vicinal.data.decode.crops import Crop, content, render, rgb
from vicinal.data.decode.pool import WorkerPool
from vicinal.data.split import Part
from vicinal.data.streamed_images import StreamedImages
from vicinal.draws import Rng
from vicinal.machine.runtime import cores
from vicinal.storage.provenance import provenance

MEAN, STD, SIZE, RESIZE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224, 256
WIDTH, HEIGHT, QUALITY = 500, 375, 95  # ImageNet's median size; about 80 kB, ImageNet's mean is 110


def add_options(parser: argparse.ArgumentParser) -> None:
    """Define the command line."""
    parser.add_argument("--root", type=Path, help="folder with train and val; default: made here")
    parser.add_argument("--images", type=int, default=2048, help="per round, and in that folder")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--rounds", type=int, default=9)


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print, write the JSON."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.root or photographs(Path(folder), arguments.images)
        contenders = {
            "ours": delivered(root, arguments),
            "ours, device's part on the CPU": augmented(root, arguments),
            "ours, evaluation": delivered(root, arguments, central=True),
            "torchvision": theirs(root, arguments),
        }
        speeds = measure(contenders, arguments)
        per_image = {name: milliseconds(*one) for name, one in single(root).items()}
    result = provenance("cpu") | {
        "batch": arguments.batch,
        "rounds": arguments.rounds,
        "workers": arguments.workers,
        "loaders": table(speeds),
        "milliseconds": per_image,
    }
    for name, found in per_image.items():
        print(f"{name:32} {found:6.3f} ms per image")
    write(arguments.out, "loader-cpu", result)


def table(speeds: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, float]]:
    """Print and return medians, and ratios to torchvision's loader in the same round."""
    print(f"{'':32} images/s, over theirs, per core second, over theirs, core ms per image")
    rows = {}
    for name, found in speeds.items():
        pairs = list(zip(found, speeds["torchvision"], strict=True))
        rows[name] = {
            "images_per_second": median(ours[0] for ours, _ in pairs),
            "over_torchvision": median(ours[0] / theirs[0] for ours, theirs in pairs),
            "images_per_core_second": median(ours[1] for ours, _ in pairs),
            "per_core_second_over_torchvision": median(
                ours[1] / theirs[1] for ours, theirs in pairs
            ),
            "core_milliseconds_per_image": median(1000 / ours[1] for ours, _ in pairs),
        }
        print(f"{name:32} " + "".join(f"{value:10.3f}" for value in rows[name].values()))
    return rows


def photographs(root: Path, count: int) -> Path:
    """JPEGs of ImageNet's size, each cut from a photograph that scikit-learn ships."""
    whole = [Image.fromarray(image) for image in load_sample_images().images]
    draws = Random(0)
    for part, images in (("train", count), ("val", 2)):
        for number in range(images):
            photo = whole[number % 2]
            left = draws.randrange(photo.width - WIDTH)
            top = draws.randrange(photo.height - HEIGHT)
            path = root / part / f"photo{number % 2}" / f"{number:05}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            photo.crop((left, top, left + WIDTH, top + HEIGHT)).save(path, quality=QUALITY)
    return root


def streamed(root: Path, arguments: argparse.Namespace) -> tuple[Part, Vicinity]:
    """The training split, and what the device does to its batches."""
    dataset = StreamedImages(root=str(root), size=SIZE, mean=MEAN, std=STD)
    data = dataset.load()
    return data.train.to("cpu", WorkerPool(arguments.workers)), data.augment


def delivered(root: Path, arguments: argparse.Namespace, central: bool = False) -> Iterator[int]:
    """Yield batches as they go to the device."""
    split, _ = streamed(root, arguments)
    for epoch in range(1_000_000):
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(epoch))
        key = None if central else (0, epoch)
        for x, _, _ in split.batches(order.split(arguments.batch), key):
            yield len(x)


def augmented(root: Path, arguments: argparse.Namespace) -> Iterator[int]:
    """Yield batches as a network's first layer passes them on."""
    split, augment = streamed(root, arguments)
    batches = Batches(split, 2, arguments.batch, augment, seed=0)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    for epoch in range(1_000_000):
        for x, _, _ in batches.epoch(epoch, 0, Rng.seeded(0)):
            yield len((x - mean) / std)


def theirs(root: Path, arguments: argparse.Namespace) -> Iterator[int]:
    """The loader of torchvision's reference script for ImageNet."""
    steps = [
        transforms.RandomResizedCrop(SIZE),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    loader = DataLoader(
        ImageFolder(str(root / "train"), transforms.Compose(steps)),
        arguments.batch,
        shuffle=True,
        num_workers=arguments.workers,
        persistent_workers=True,
    )
    while True:
        for x, _ in loader:
            yield len(x)


def measure(
    contenders: dict[str, Iterator[int]], arguments: argparse.Namespace
) -> dict[str, list[tuple[float, float]]]:
    """Images per second, and per second of a core, by contender and round.

    In the folder made here a round is one epoch, after which nothing has been decoded in advance.
    The first round starts the workers and is dropped.
    """
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    steps = -(-arguments.images // arguments.batch)
    for turn in range(arguments.rounds + 1):
        for name in Random(turn).sample(sorted(contenders), len(contenders)):
            began, busy = perf_counter(), core_seconds()
            images = sum(next(contenders[name]) for _ in range(steps))
            if turn:
                found = images / (perf_counter() - began), images / (core_seconds() - busy)
                speeds[name].append(found)
    return speeds


def core_seconds() -> float:
    """CPU time of this process and its workers, to 0.01 s, whatever else the machine does."""
    here = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
    ticks = 0
    for child in Path(here).read_text().split():
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # in user mode, in the system
    return process_time() + ticks / os.sysconf("SC_CLK_TCK")


def single(root: Path) -> dict[str, tuple[Callable[[Any], object], list[Any]]]:
    """The parts of the work on one image, with the inputs to time them on."""
    files = [path.read_bytes() for path in _paths(root)]
    pillow = [rgb(file) for file in files]
    tensors = [torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] for image in pillow]
    left, top, right, bottom = 60, 30, 410, 310

    def torchvision_decode(file: bytes) -> object:
        return decode_jpeg(torch.frombuffer(bytearray(file), dtype=torch.uint8), ImageReadMode.RGB)

    def pillow_resize(image: Image.Image) -> object:
        part = image.crop((left, top, right, bottom))
        return part.resize((SIZE, SIZE), Image.Resampling.BILINEAR)

    def torch_resize(image: torch.Tensor) -> object:
        part = image[..., top:bottom, left:right]
        return F.interpolate(part, (SIZE, SIZE), mode="bilinear", antialias=True)

    return _from_files(root) | {
        "decode, Pillow": (rgb, files),
        "decode, torchvision.io": (torchvision_decode, files),
        "crop and resize, Pillow": (pillow_resize, pillow),
        "crop and resize, torch (uint8)": (torch_resize, tensors),
    }


def _from_files(root: Path) -> dict[str, tuple[Callable[[Any], object], list[Any]]]:
    """All that a worker does with one image, with the seeds and files to time it on."""
    crop, paths = Crop(SIZE, RESIZE), [str(path) for path in _paths(root)]

    def ours(drawn: tuple[int | None, str]) -> object:
        return render(crop, drawn[1], drawn[0])

    def in_full(drawn: tuple[int | None, str]) -> object:
        return crop(rgb(content(drawn[1])), drawn[0]).tobytes()

    return {
        "a crop from its file": (ours, [*enumerate(paths)]),
        "the same, decoded in full": (in_full, [*enumerate(paths)]),
        "a central crop from its file": (ours, [(None, path) for path in paths]),
        "reading a file": (content, paths),
    }


def _paths(root: Path) -> list[Path]:
    return sorted((root / "train").rglob("*.JPEG"))[:64]


def milliseconds(act: Callable[[Any], object], samples: list[Any]) -> float:
    """CPU time per sample of this process alone, because others share the machine."""
    found = []
    for _ in range(7):
        began = process_time()
        for sample in samples:
            act(sample)
        found.append(1000 * (process_time() - began) / len(samples))
    return median(found)
