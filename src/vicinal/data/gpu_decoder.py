"""JPEGs decoded, cropped and resized on the GPU, the files read by a few threads.

Code:     torchvision.io.decode_jpeg(..., device="cuda"), that is nvJPEG; deprecated since 0.29
Differs:  nvJPEG's pixels and torch's bilinear filter are not Pillow's, by a level or two; the boxes
          are the same. Files that are no ordinary JPEG are left to Pillow.
"""

import io
from collections import deque
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

from vicinal.data.decoders import Here, Mend, Task
from vicinal.data.pixels import Crop, content

READERS = 8
MODES = ("RGB", "L")  # of JPEGs that nvJPEG turns to RGB


@dataclass(frozen=True)
class OnGpu:
    """A batch is decoded when it is asked for; the next one's files are read meanwhile."""

    device: str = "cuda"

    def __call__(
        self, crop: Crop, batches: Iterable[Sequence[Task]], mend: Mend
    ) -> Iterator[UInt8[Tensor, "n 3 h w"]]:
        with ThreadPoolExecutor(READERS) as readers:
            begun = ((tasks, [readers.submit(_jpeg, t.path) for t in tasks]) for tasks in batches)
            waiting = deque(islice(begun, 1))
            while waiting:
                tasks, files = waiting.popleft()
                waiting.extend(islice(begun, 1))
                yield self._batch(crop, tasks, [file.result() for file in files], mend)

    def _batch(
        self, crop: Crop, tasks: Sequence[Task], files: Sequence[Tensor | None], mend: Mend
    ) -> UInt8[Tensor, "n 3 h w"]:
        shape = (len(tasks), 3, crop.size, crop.size)
        out = torch.empty(shape, dtype=torch.uint8, device=self.device)
        jpegs = {place: file for place, file in enumerate(files) if file is not None}
        images = dict(zip(jpegs, self._decoded(list(jpegs.values())), strict=True))
        left = []  # to Pillow, which says what is wrong where something is
        for place, task in enumerate(tasks):
            image = images.get(place)
            if image is None:
                left.append(place)
            else:
                out[place] = cropped(crop, image, task.seed)
        if left:
            (others,) = Here()(crop, [[tasks[place] for place in left]], mend)
            out[left] = others.to(self.device)
        return out

    def _decoded(self, files: list[Tensor]) -> list[Tensor | None]:
        """One damaged file spoils the whole list: then each is tried by itself."""
        if not files:
            return []
        try:
            return [*decode_jpeg(files, mode=ImageReadMode.RGB, device=self.device)]
        except RuntimeError:
            if len(files) == 1:
                return [None]
            return [image for file in files for image in self._decoded([file])]


def cropped(crop: Crop, image: UInt8[Tensor, "3 h w"], seed: int | None) -> Tensor:
    """What Crop makes of an image of Pillow's, by torch."""
    height, width = image.shape[1:]
    if seed is None:
        across, down = crop.resized(width, height)
        left, top, right, bottom = crop.centre(across, down).corners
        return _resized(image, down, across)[:, top:bottom, left:right]
    left, top, right, bottom = crop.box(width, height, Random(seed)).corners
    return _resized(image[:, top:bottom, left:right], crop.size, crop.size)


def _resized(image: Tensor, height: int, width: int) -> UInt8[Tensor, "3 height width"]:
    size = (height, width)
    wanted = F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)
    return wanted[0].round().clamp(0, 255).to(torch.uint8)


def _jpeg(path: str) -> UInt8[Tensor, " n"] | None:
    """A file's content, where nvJPEG can be asked."""
    data = content(path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format != "JPEG" or image.mode not in MODES:
                return None
    except Exception:  # Pillow says what is wrong when it is its turn
        return None
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
