"""Decode many compressed images into one uint8 array, in the order of their names."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from vicinal.data.decode.crops import CorruptError, rgb
from vicinal.errors import RunError


def decoded(
    names: Sequence[str], read: Callable[[str], bytes], size: int | None
) -> UInt8[Tensor, "n 3 h w"]:
    """Decode to RGB; with a `size`, resize the shorter side to it and crop the centre.

    Without a size, all images must have the same one. An error names the file.
    """
    first = _decode(names[0], read(names[0]), size)
    images = np.empty((len(names), *first.shape), np.uint8)

    def fill(index: int) -> None:
        image = _decode(names[index], read(names[index]), size)
        if image.shape != first.shape:
            shapes = [f"{shape[1]} x {shape[0]}" for shape in (first.shape, image.shape)]
            raise RunError(
                f"images must have one size where dataset.size is null, got {shapes[0]} "
                f"({names[0]}) and {shapes[1]} ({names[index]})"
            )
        images[index] = image

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(fill, range(len(names))):
            pass
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _decode(name: str, data: bytes, size: int | None) -> UInt8[np.ndarray, "h w 3"]:
    try:
        image = rgb(data)
    except CorruptError as error:
        raise RunError(f"{name} must be a readable image, got: {error}") from error
    return np.asarray(image if size is None else _fit(image, size))


def _fit(image: Image.Image, size: int) -> Image.Image:
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))
