"""The pictures of ice that ImageNet-C's frost adds, which come with another package."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from vicinal.errors import RunError

# There is a sixth, which the original never picks.
NAMES = "frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"
BITS = 11  # of OpenCV's weights


@dataclass(frozen=True)
class Pictures:
    """All pictures, their pixels row after row and picture after picture; sizes are on the CPU."""

    pixels: UInt8[Tensor, "3 p"]
    heights: Int64[Tensor, " k"]
    widths: Int64[Tensor, " k"]

    def parts(
        self,
        chosen: Int64[Tensor, " n"],
        top: Int64[Tensor, " n"],
        left: Int64[Tensor, " n"],
        height: int,
        width: int,
    ) -> UInt8[Tensor, "n 3 {height} {width}"]:
        """One part of a picture for each image, from these upper left corners."""
        device = self.pixels.device
        firsts = (self.heights * self.widths).cumsum(0) - self.heights * self.widths
        widths = self.widths[chosen]
        corners = (firsts[chosen] + top * widths + left)[:, None, None].to(device)
        rows = torch.arange(height, device=device)[:, None] * widths.to(device)[:, None, None]
        places = corners + rows + torch.arange(width, device=device)
        return self.pixels[:, places].movedim(0, 1)


@lru_cache(maxsize=8)
def pictures(
    folder: Path | None, scale: float, height: int, width: int, device: torch.device
) -> Pictures:
    """The five pictures in this folder, or in the one that imagecorruptions brings, resized.

    Those that would be no larger than an image of this size are made just large enough, which
    happens at no published size.
    """
    images = [_read(_found(folder) / name) for name in NAMES]
    needs = [max((height + 1) / im.shape[1], (width + 1) / im.shape[2]) for im in images]
    images = [_resized(im, max(scale, need)) for im, need in zip(images, needs, strict=True)]
    return Pictures(
        torch.cat([image.flatten(1) for image in images], dim=1).to(device),
        torch.tensor([image.shape[1] for image in images]),
        torch.tensor([image.shape[2] for image in images]),
    )


def _found(folder: Path | None) -> Path:
    """The folder with the pictures; the package is not imported, which would compile code."""
    if folder is not None:
        return folder
    package = find_spec("imagecorruptions")
    if package is None or package.origin is None:
        raise RunError(
            "frost needs the pictures that imagecorruptions brings: pip install "
            "vicinal[corruptions], or name a folder with frost1.png to frost5.jpg"
        )
    return Path(package.origin).parent / "frost"


def _read(path: Path) -> UInt8[Tensor, "3 h w"]:
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert("RGB"))
    except OSError as error:
        raise RunError(f"frost needs the picture {path}, which cannot be read: {error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _resized(image: UInt8[Tensor, "3 h w"], scale: float) -> UInt8[Tensor, "3 s t"]:
    """OpenCV's linear resizing, without smoothing and in its integer arithmetic."""
    if scale == 1:
        return image
    values = image.int()
    low, high, share = _neighbours(image.shape[2], scale)
    rows = values[..., low] * ((1 << BITS) - share) + values[..., high] * share
    low, high, share = _neighbours(image.shape[1], scale)
    share = share[:, None]
    above = ((rows[:, low] >> 4) * ((1 << BITS) - share)) >> 16
    below = ((rows[:, high] >> 4) * share) >> 16
    return ((above + below + 2) >> 2).to(torch.uint8)


def _neighbours(
    size: int, scale: float
) -> tuple[Int64[Tensor, " s"], Int64[Tensor, " s"], Int64[Tensor, " s"]]:
    """The two pixels between which each pixel along an axis lies, and the weight of the second."""
    places = (torch.arange(round(size * scale), dtype=torch.float64) + 0.5) / scale - 0.5
    places = places.clamp(0, size - 1)
    low = places.floor()
    share = ((places - low).float() * (1 << BITS)).round()
    return low.long(), (low + 1).clamp_max(size - 1).long(), share.long()
