"""ImageNet-C's corruptions of batches of 8-bit images."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from vicinal.draws import Rng
from vicinal.images.corruptions import blur, digital, noise, severities, spatter, weather
from vicinal.images.corruptions.pictures import pictures
from vicinal.images.corruptions.severities import PUBLISHED, Severities, published_side

Pixels = UInt8[Tensor, "n 3 h w"]

# Values processed in one piece: on a CPU as many as its caches hold in double precision; but always
# some images, which zoom blur moves together. Pieces draw one after another, so other numbers mean
# other draws.
CACHED, HELD, FEWEST = 1 << 17, 1 << 24, 3

TABLE: Mapping[str, tuple[Callable[..., Pixels], Mapping[int, Severities]]] = {
    "gaussian_noise": (noise.gaussian_noise, severities.GAUSSIAN_NOISE),
    "shot_noise": (noise.shot_noise, severities.SHOT_NOISE),
    "impulse_noise": (noise.impulse_noise, severities.IMPULSE_NOISE),
    "defocus_blur": (blur.defocus_blur, severities.DEFOCUS_BLUR),
    "glass_blur": (blur.glass_blur, severities.GLASS_BLUR),
    "motion_blur": (blur.motion_blur, severities.MOTION_BLUR),
    "zoom_blur": (blur.zoom_blur, severities.ZOOM_BLUR),
    "snow": (weather.snow, severities.SNOW),
    "frost": (weather.frost, severities.FROST),
    "fog": (weather.fog, severities.FOG),
    "brightness": (weather.brightness, severities.BRIGHTNESS),
    "contrast": (digital.contrast, severities.CONTRAST),
    "elastic_transform": (digital.elastic_transform, severities.ELASTIC_TRANSFORM),
    "pixelate": (digital.pixelate, severities.PIXELATE),
    "jpeg_compression": (digital.jpeg_compression, severities.JPEG_COMPRESSION),
    "speckle_noise": (noise.speckle_noise, severities.SPECKLE_NOISE),
    "gaussian_blur": (blur.gaussian_blur, severities.GAUSSIAN_BLUR),
    "spatter": (spatter.spatter, severities.SPATTER),
    "saturate": (digital.saturate, severities.SATURATE),
}
COMMON = tuple(TABLE)[:15]  # those that ImageNet-C's error averages, in its order
EXTRA = tuple(TABLE)[15:]
SEVERITIES = range(1, 6)


def corrupted(
    name: str,
    severity: int,
    x: Pixels,
    rng: Rng,
    *,
    frost: Path | None = None,
    side: int | None = None,
) -> Pixels:
    """Each image with draws of its own, at a severity from 1 to 5.

    The constants are those of ImageNet-C for images of this size, or for `side` pixels: see
    `published_side` for sizes other than 32, 64 and 224. `frost` is a folder with the pictures for
    the corruption of that name; by default they are those of the package imagecorruptions.
    """
    if name not in TABLE:
        raise ValueError(f"a corruption must be one of {', '.join(TABLE)}, got {name}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be from 1 to 5, got {severity}")
    height, width = x.shape[2:]
    side = published_side(height, width) if side is None else side
    if side not in PUBLISHED:
        raise ValueError(f"side must be one of {PUBLISHED}, got {side} (others have no constants)")
    corruption, constants = TABLE[name]
    if corruption is weather.frost:
        ice = pictures(frost, severities.FROST_SCALES[side], height, width, x.device)
        corruption = partial(corruption, pictures=ice)
    values = CACHED if x.device.type == "cpu" else HELD
    pieces = x.split(max(FEWEST, values // (3 * height * width)))
    with _one_thread():
        changed = [corruption(piece, constants[side][severity - 1], rng) for piece in pieces]
    return torch.cat(changed)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Operations of this size gain little from a second thread, and wait long for it if it's busy.

    On two cores that were in use, one thread took a seventh of the time of two.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
