"""Images as training scripts find them: arrays at CIFAR's size, JPEG files at ImageNet's."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

FILES = 256  # different ones; beyond that they repeat
SIZE, NOISE, QUALITY = (500, 375), 20.0, 90


class Pictures(Dataset[tuple[Any, int]]):
    """PIL images of random pixels, through `transform`."""

    def __init__(self, count: int, size: int, classes: int) -> None:
        draw = np.random.default_rng(0)
        self.labels = draw.integers(classes, size=count)
        self.transform: Callable[[Image.Image], Any] | None = None
        self.arrays, self.files = None, [b""]
        if size <= 64:
            self.arrays = draw.integers(256, size=(count, size, size, 3), dtype=np.uint8)
        else:
            self.files = [jpeg(draw) for _ in range(min(FILES, count))]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        assert self.transform is not None
        if self.arrays is not None:
            image = Image.fromarray(self.arrays[place])
        else:
            image = Image.open(io.BytesIO(self.files[place % len(self.files)])).convert("RGB")
        return self.transform(image), int(self.labels[place])


def jpeg(draw: np.random.Generator) -> bytes:
    """A file about as large as ImageNet's, in pixels and bytes: smooth colours and some noise."""
    coarse = Image.fromarray(draw.integers(256, size=(12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(SIZE, Image.Resampling.BICUBIC), dtype=np.float32)
    noisy = smooth + NOISE * draw.standard_normal(smooth.shape)
    content = io.BytesIO()
    pixels = noisy.round().clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(content, "JPEG", quality=QUALITY)
    return content.getvalue()


def folder(root: Path, train: int, validation: int) -> None:
    """Write folders like ImageNet's, of two classes; repeated files are links."""
    draw = np.random.default_rng(0)
    files = [jpeg(draw) for _ in range(min(FILES, train))]
    for number, content in enumerate(files):
        (root / f"{number}.jpg").write_bytes(content)
    for split, count in (("train", train), ("validation", validation)):
        for label in ("a", "b"):
            (root / split / label).mkdir(parents=True)
        for number in range(count):
            link = root / split / "ab"[number % 2] / f"{number}.jpg"
            link.hardlink_to(root / f"{number % len(files)}.jpg")
