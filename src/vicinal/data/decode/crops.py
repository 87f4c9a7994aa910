"""Decode, crop and resize image files, as torchvision's transforms do on Pillow images.

Imports no torch, because the decoding workers import this module and little else.

Code:     torchvision's RandomResizedCrop, Resize and CenterCrop on Pillow images, bilinear, which
          the papers' ImageNet programs call; for the same boxes our pixels are theirs, bit for bit
Differs:  boxes are drawn from one generator per image, so that they do not depend on the number of
          processes; images of more than 8 bits per channel are refused, not clipped
"""

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

from PIL import Image

from vicinal.data.decode import jpeg
from vicinal.errors import RunError

DEEP_MODES = ("I", "F")  # more than 8 bits per channel; Pillow would clip them silently
MEMBER = re.compile(r"(?P<archive>.+\.tar)/.+!(?P<offset>\d+)\+(?P<size>\d+)")
ATTEMPTS = 10  # to draw a box that fits; then RandomResizedCrop takes a central one


class CorruptError(Exception):
    """A file's content is not an image, or not a whole one; the message is Pillow's reason."""


def rgb(data: bytes) -> Image.Image:
    """Decode a file's content to three channels of 8 bits."""
    try:
        image = Image.open(io.BytesIO(data))
        if image.mode.split(";")[0] in DEEP_MODES:
            raise ValueError(f"it has more than 8 bits per channel (mode {image.mode})")
        if image.mode != "RGB":
            return image.convert("RGB")
        image.load()
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        raise CorruptError(str(error).partition(" <_io")[0]) from error
    return image


class Box(NamedTuple):
    """A part of an image, in whole pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom, as Pillow expects."""
        return self.left, self.top, self.left + self.width, self.top + self.height


@dataclass(frozen=True)
class Crop:
    """The part of an image that the network sees: random in training, else the centre."""

    size: int
    resize: int  # of the shorter side, before the central crop
    scale: tuple[float, float] = (0.08, 1.0)  # of the random part's area, as a share
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # of its width to its height
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")
        if self.resize < self.size:
            raise ValueError(
                f"resize must be at least size, {self.size}, got {self.resize} "
                "(the centre is cropped after it)"
            )
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be two shares, smaller first, got {list(self.scale)}")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"interpolation must be bilinear or bicubic, got {self.interpolation}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be positive, smaller first, got {list(self.ratio)}")

    def __call__(self, image: Image.Image, seed: int | None) -> Image.Image:
        """Crop to size x size: a random part where there is a seed, else the centre."""
        if seed is not None:
            return self.part(image, self.box(*image.size, Random(seed)))
        whole = image.resize(self.resized(*image.size), self._filter)
        return whole.crop(self.centre(*whole.size).corners)

    def part(self, image: Image.Image, box: Box) -> Image.Image:
        """A part of the image, resized."""
        return image.crop(box.corners).resize((self.size, self.size), self._filter)

    @property
    def _filter(self) -> Image.Resampling:
        return Image.Resampling[self.interpolation.upper()]

    def box(self, width: int, height: int, draws: Random) -> Box:
        """RandomResizedCrop's box: uniform area and log ratio; a central one if ten do not fit.

        Only `random()` is called on the generator: Python guarantees its numbers across versions.
        """
        low, high = map(math.log, self.ratio)
        for _ in range(ATTEMPTS):
            area = width * height * _between(*self.scale, draws)
            ratio = math.exp(_between(low, high, draws))
            across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < across <= width and 0 < down <= height:
                top = int(draws.random() * (height - down + 1))
                return Box(int(draws.random() * (width - across + 1)), top, across, down)
        narrowest, widest = self.ratio
        across = min(width, round(height * widest))
        down = min(height, round(width / narrowest))
        return Box((width - across) // 2, (height - down) // 2, across, down)

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Resize's size: the shorter side is `resize`, the longer is rounded down."""
        short = min(width, height)
        return self.resize * width // short, self.resize * height // short

    def centre(self, width: int, height: int) -> Box:
        """CenterCrop's box, which rounds half pixels to even."""
        left, top = (round((side - self.size) / 2) for side in (width, height))
        return Box(left, top, self.size, self.size)


def render(crop: Crop, path: str, seed: int | None) -> bytes:
    """The pixels of a file's crop, row by row, three bytes each."""
    data = content(path)
    frame = None if seed is None else jpeg.frame(data)
    if frame is None:
        return crop(rgb(data), seed).tobytes()
    box = crop.box(frame.width, frame.height, Random(seed))
    upper = rgb(jpeg.shortened(data, frame, rows=box.top + box.height))
    return crop.part(upper, box).tobytes()


def content(path: str) -> bytes:
    """Read a file, or a part of an archive: ARCHIVE.tar/NAME!OFFSET+SIZE, as tar_index lists it.

    One that cannot be read is not a corrupt image, and nothing may replace it.
    """
    member = MEMBER.fullmatch(path)
    try:
        if member is None:
            return Path(path).read_bytes()
        with Path(member["archive"]).open("rb") as archive:
            archive.seek(int(member["offset"]))
            return archive.read(int(member["size"]))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error


def _between(low: float, high: float, draws: Random) -> float:
    return low + (high - low) * draws.random()
