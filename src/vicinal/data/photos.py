"""Photos on disk with the objects that they show, read one by one, resized and flipped.

Code:     MMDetection's and torchvision's training of Mask R-CNN on COCO: no crowds, no photos
          without objects, horizontal flips, the shorter side resized but the longer one limited
Differs:  photos are resized by Pillow, which averages where it shrinks; both codes do not. Crowds
          are left out, as in torchvision's code; MMDetection takes them out of the background
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from torch import Tensor

from vicinal.contracts import Objects
from vicinal.contracts import Photos as PhotoBatch
from vicinal.data.batches import as_inputs
from vicinal.data.decode.crops import CorruptError, rgb
from vicinal.data.masks import Outline, Size, drawn
from vicinal.data.split import Rows
from vicinal.draws import derived_seed
from vicinal.errors import RunError

AHEAD = 3  # batches that are read while one is trained on
STRIDE = 32  # batches are padded to its multiples

Key = tuple[int, int]  # seed, epoch


@dataclass(frozen=True)
class Photo:
    """One photo and its objects, as annotated."""

    id: int
    name: str
    size: Size
    boxes: Float[np.ndarray, "m 4"]  # left, top, right, bottom
    labels: Int64[np.ndarray, " m"]
    outlines: Sequence[Outline]

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.size[1] / self.size[0]


class Sample(NamedTuple):
    """A photo as a network sees it."""

    pixels: UInt8[np.ndarray, "h w 3"]
    boxes: Float[np.ndarray, "m 4"]
    labels: Int64[np.ndarray, " m"]
    masks: UInt8[np.ndarray, "m h w"]


@dataclass(frozen=True)
class PhotoSplit:
    """Photos below `root`; with a key they are flipped, or not, and come with their objects.

    Whether a photo is flipped is a function of (seed, epoch) and its row alone.
    """

    root: str
    photos: Sequence[Photo]
    categories: tuple[int, ...]  # the ids of the classes, in the order of labels
    truth: dict[str, Any] = field(default_factory=dict)  # what measures compare with
    short: int = 600
    long: int = 1000
    flip: bool = False
    device: str = "cpu"
    threads: int = 0  # that read; 0: when a batch is asked for

    def __len__(self) -> int:
        return len(self.photos)

    def to(self, device: str, threads: int) -> "PhotoSplit":
        """The same photos, for batches on another device."""
        return replace(self, device=device, threads=threads)

    def batches(
        self, rows: Sequence[Rows], key: Key | None = None
    ) -> Iterator[tuple[PhotoBatch, Objects, Rows]]:
        """Photos, objects, rows; without a key there are no objects."""

        def read(row: int) -> Sample:
            return self.read(row, key)

        wanted = [each.tolist() for each in rows]
        for samples, places in zip(_ahead(read, wanted, self.threads), rows, strict=True):
            x, y = collated(samples, self.device)
            yield as_inputs(x), y, places.to(self.device)

    def read(self, row: int, key: Key | None) -> Sample:
        """One photo at its new size."""
        photo = self.photos[row]
        image = self._decoded(photo)
        (height, width), size = photo.size, resized(photo.size, self.short, self.long)
        flip = key is not None and self.flip and _coin(derived_seed(key[0], "flip", key[1], row))
        if size != photo.size:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
        if flip:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        if key is None:
            none = np.empty((0, 4)), np.empty(0, np.int64), np.empty((0, *size), np.uint8)
            return Sample(pixels, *none)
        boxes = photo.boxes * np.tile([size[1] / width, size[0] / height], 2)
        if flip:
            boxes[:, [0, 2]] = size[1] - boxes[:, [2, 0]]
        masks = [drawn(each, photo.size, size, flip) for each in photo.outlines]
        return Sample(pixels, boxes, photo.labels, np.stack(masks))

    def _decoded(self, photo: Photo) -> Image.Image:
        path = Path(self.root, photo.name)
        try:
            image = rgb(path.read_bytes())
        except (OSError, CorruptError) as error:
            raise RunError(f"{path} must be a readable image, got: {error}") from error
        if image.size[::-1] != photo.size:
            height, width = photo.size
            raise RunError(
                f"{path} must be {width} x {height} pixels, as its annotation says, got "
                f"{image.width} x {image.height}"
            )
        return image


def resized(size: Size, short: int, long: int) -> Size:
    """The largest size of this shape whose sides are at most `short` and `long`."""
    scale = min(short / min(size), long / max(size))
    height, width = (max(1, int(side * scale + 0.5)) for side in size)
    return height, width


def collated(
    samples: Sequence[Sample], device: str
) -> tuple[UInt8[Tensor, "n 3 height width"], Objects]:
    """Photos in one batch, padded with black at the right and below."""
    sizes = tuple(each.pixels.shape[:2] for each in samples)
    height, width = (STRIDE * -(-max(sides) // STRIDE) for sides in zip(*sizes, strict=True))
    pinned = device == "cuda"
    x = torch.zeros(len(samples), 3, height, width, dtype=torch.uint8, pin_memory=pinned)
    counts = tuple(len(each.boxes) for each in samples)
    masks = torch.zeros(sum(counts), height, width, dtype=torch.uint8, pin_memory=pinned)
    pairs = zip(samples, x, masks.split(counts), strict=True)
    for sample, photo, of in pairs:
        h, w, _ = sample.pixels.shape
        photo[:, :h, :w] = torch.tensor(sample.pixels.transpose(2, 0, 1))
        of[:, :h, :w] = torch.from_numpy(sample.masks)
    boxes = torch.from_numpy(np.concatenate([each.boxes for each in samples])).float()
    labels = torch.from_numpy(np.concatenate([each.labels for each in samples]))
    x, masks, boxes, labels = (e.to(device, non_blocking=True) for e in (x, masks, boxes, labels))
    return x, Objects(boxes, labels, masks, counts, sizes)


def _coin(seed: int) -> bool:
    return Random(seed).random() < 0.5


def _ahead(
    read: Callable[[int], Sample], batches: Sequence[Sequence[int]], threads: int
) -> Iterator[list[Sample]]:
    """Read batches, some of them before they are asked for."""
    if not threads:
        yield from ([read(row) for row in batch] for batch in batches)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="photos") as pool:
        begun: Iterator[list[Future[Sample]]] = (
            [pool.submit(read, row) for row in batch] for batch in batches
        )
        waiting = deque(islice(begun, AHEAD))
        try:
            while waiting:
                samples = [each.result() for each in waiting.popleft()]
                waiting.extend(islice(begun, 1))
                yield samples
        finally:  # the caller wants no more
            pool.shutdown(cancel_futures=True)
