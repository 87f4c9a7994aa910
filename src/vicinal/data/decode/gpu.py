"""Decode, crop and resize JPEGs on the GPU, while a few threads read the files.

Code:     torchvision.io.decode_jpeg(..., device="cuda"), that is nvJPEG; deprecated since 0.29
Differs:  nvJPEG's pixels and torch's bilinear filter are not Pillow's, by a level or two; the boxes
          are the same. Pillow decodes files that are not ordinary JPEGs.
"""

import io
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.io import ImageReadMode, decode_jpeg

from vicinal.data.decode.crops import Crop, content
from vicinal.data.decode.pool import DecodeTask, InProcessDecoder, ReplaceCorrupt

READERS = 8
Plan = tuple[tuple[int, int], int, int]  # the size to resize to, and the top left corner to crop
MODES = ("RGB", "L")  # of JPEGs that nvJPEG converts to RGB


@dataclass(frozen=True)
class GpuDecoder:
    """Decodes a batch when it is asked for; the next batch's files are read meanwhile."""

    device: str = "cuda"

    def __call__(
        self, crop: Crop, batches: Iterable[Sequence[DecodeTask]], replace_corrupt: ReplaceCorrupt
    ) -> Iterator[UInt8[Tensor, "n 3 h w"]]:
        with ThreadPoolExecutor(READERS) as readers:
            begun = ((tasks, [readers.submit(_jpeg, t.path) for t in tasks]) for tasks in batches)
            waiting = deque(islice(begun, 1))
            while waiting:
                tasks, files = waiting.popleft()
                waiting.extend(islice(begun, 1))
                yield self._batch(crop, tasks, [file.result() for file in files], replace_corrupt)

    def _batch(
        self,
        crop: Crop,
        tasks: Sequence[DecodeTask],
        files: Sequence[Tensor | None],
        replace_corrupt: ReplaceCorrupt,
    ) -> UInt8[Tensor, "n 3 h w"]:
        jpegs = {place: file for place, file in enumerate(files) if file is not None}
        decoded = zip(jpegs, self._decoded(list(jpegs.values())), strict=True)
        images = {place: image for place, image in decoded if image is not None}
        left = [place for place in range(len(tasks)) if place not in images]
        parts = []
        if images:
            parts.append(cropped(crop, [*images.values()], [tasks[p].seed for p in images]))
        if left:  # for Pillow, which reports what is wrong with a corrupt file
            (others,) = InProcessDecoder()(
                crop, [[tasks[place] for place in left]], replace_corrupt
            )
            parts.append(others.to(self.device, non_blocking=True))
        order = torch.tensor([*images, *left]).argsort().to(self.device, non_blocking=True)
        out = torch.cat(parts).index_select(0, order)
        return out.contiguous(memory_format=torch.channels_last)

    def _decoded(self, files: list[Tensor]) -> list[Tensor | None]:
        """One damaged file fails the whole list; then each file is decoded by itself."""
        if not files:
            return []
        try:
            return [*decode_jpeg(files, mode=ImageReadMode.RGB, device=self.device)]
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise  # the device's fault, not a file's
        except RuntimeError:
            if len(files) == 1:
                return [None]
            return [image for file in files for image in self._decoded([file])]


def cropped(
    crop: Crop, images: Sequence[UInt8[Tensor, "3 _ _"]], seeds: Sequence[int | None]
) -> UInt8[Tensor, "n 3 h w"]:
    """Do in torch what Crop does in Pillow; images of one shape are resized together."""
    alike: dict[tuple[torch.Size, Plan], list[int]] = defaultdict(list)
    parts = []
    for place, (image, seed) in enumerate(zip(images, seeds, strict=True)):
        part, plan = _planned(crop, image, seed)
        parts.append(part)
        alike[part.shape, plan].append(place)
    resized = []
    for (shape, (size, top, left)), places in alike.items():
        group = torch.empty((len(places), *shape), device=parts[0].device)
        for held, place in zip(group, places, strict=True):
            held.copy_(parts[place])
        whole = F.interpolate(group, size, mode=crop.interpolation, antialias=True)
        resized.append(whole[..., top : top + crop.size, left : left + crop.size])
    order = torch.tensor([place for places in alike.values() for place in places]).argsort()
    together = torch.cat(resized)
    together = together.index_select(0, order.to(together.device, non_blocking=True))
    return together.round_().clamp_(0, 255).to(torch.uint8)


def _planned(
    crop: Crop, image: UInt8[Tensor, "3 h w"], seed: int | None
) -> tuple[UInt8[Tensor, "3 y x"], Plan]:
    """The part of an image to resize, and the size to resize it to."""
    height, width = image.shape[1:]
    if seed is None:
        across, down = crop.resized(width, height)
        box = crop.centre(across, down)
        return image, ((down, across), box.top, box.left)
    left, top, right, bottom = crop.box(width, height, Random(seed)).corners
    return image[:, top:bottom, left:right], ((crop.size, crop.size), 0, 0)


def _jpeg(path: str) -> UInt8[Tensor, " n"] | None:
    """Read a file; None where nvJPEG cannot decode it."""
    data = content(path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format != "JPEG" or image.mode not in MODES:
                return None
    except Exception:  # Pillow, which decodes it next, says what is wrong
        return None
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
