"""The linear filters of the corruptions, batched, in double precision.

Truncation to bytes makes flat regions sensitive to the last bit: a white one comes out as 254 if
the weights' sum is rounded below 1. So sums run in the order of the reference libraries, where that
can be known, and elsewhere in an order that leaves a constant unchanged.
"""

from functools import lru_cache
from math import ceil

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, UInt8
from torch import Tensor
from torch.nn import functional as F

from vicinal.images.geometry import quantized

Pixels = UInt8[Tensor, "n c h w"]
Planes = Float64[Tensor, "n c h w"]


def in_bytes(values: Float[Tensor, "..."]) -> UInt8[Tensor, "..."]:
    """From [0, 1] to bytes as every corruption ends: clipped, times 255 (in place), truncated."""
    return quantized(values.clamp_(0, 1).mul_(255))


@lru_cache(maxsize=32)
def _gaussian(deviation: float, truncate: float) -> tuple[float, ...]:
    """SciPy's weights of a Gaussian filter, cut off at so many deviations."""
    reach = int(truncate * deviation + 0.5)
    weights = np.exp(-0.5 / (deviation * deviation) * np.arange(-reach, reach + 1) ** 2)
    return tuple((weights / weights.sum()).tolist())


def gaussian_blurred(x: Planes, deviation: float) -> Planes:
    """scikit-image's Gaussian filter: cut off at 4 deviations, edge pixels repeated outside."""
    weights = _gaussian(deviation, 4.0)
    return _correlated(_correlated(x, weights, 2), weights, 3)


def _correlated(x: Planes, weights: tuple[float, ...], axis: int) -> Planes:
    """With symmetric weights along one axis, summed in SciPy's order: the centre, then inwards."""
    reach, size = len(weights) // 2, x.shape[axis]
    if reach == 0:
        return x
    margins = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
    padded = F.pad(x, margins, mode="replicate")
    total = x * weights[reach]
    for distance in range(reach, 0, -1):
        before = padded.narrow(axis, reach - distance, size)
        after = padded.narrow(axis, reach + distance, size)
        total += (before + after).mul_(weights[reach + distance])
    return total


@lru_cache(maxsize=8)
def gaussian_matrix(size: int, deviation: float, device: torch.device) -> Float64[Tensor, "s s"]:
    """The Gaussian filter along one axis, cut off at 3 deviations and mirrored outside.

    The mirror repeats the edge pixel, and the filter may be wider than the image.
    """
    if deviation == 0:
        return torch.eye(size, dtype=torch.float64, device=device)
    weights = torch.tensor(_gaussian(deviation, 3.0), dtype=torch.float64)
    reach, places = len(weights) // 2, torch.arange(size)
    sources = (places[:, None] + torch.arange(-reach, reach + 1)) % (2 * size)
    sources = torch.minimum(sources, 2 * size - 1 - sources)
    matrix = torch.zeros((size, size), dtype=torch.float64)
    return matrix.scatter_add_(1, sources, weights.expand(size, -1)).to(device)


@lru_cache(maxsize=8)
def disk(radius: float, softening: float) -> Float64[Tensor, "k k"]:
    """A uniform disk, then a Gaussian filter of 3 x 3 pixels, 5 x 5 if the radius exceeds 8.

    Its empty margins are cut off. A small radius still lies on a grid of 17 x 17 pixels, whose
    border mirrors the disk of radius 8.
    """
    half, reach = (8, 1) if radius <= 8 else (int(radius), 2)
    squares = np.arange(-half, half + 1) ** 2
    inside = (squares[:, None] + squares <= radius**2).astype(np.float32)
    weights = np.exp(-0.5 * np.arange(-reach, reach + 1) ** 2 / softening**2)
    weights = (weights / weights.sum()).astype(np.float32)
    kernel = _softened(inside / inside.sum(), weights)
    margin = int(np.flatnonzero(kernel.any(axis=0))[0])
    kept = slice(margin, len(kernel) - margin)
    return torch.from_numpy(kernel[kept, kept]).double()


def _softened(
    image: Float32[np.ndarray, "k k"], weights: Float32[np.ndarray, " w"]
) -> Float32[np.ndarray, "k k"]:
    """Filtered along both axes in single precision, as OpenCV does with fused multiply-adds.

    The last bits decide whether the sum is below 1, and a white region thus 254 or 255.
    """
    reach, size = len(weights) // 2, len(image)
    padded = np.pad(image, reach, mode="reflect").astype(np.float64)
    shifted = (padded[:, k : k + size] * weight for k, weight in enumerate(weights.tolist()))
    rows = sum(shifted, np.zeros(())).astype(np.float32)
    total = rows[reach : reach + size] * weights[reach]
    for distance in range(1, reach + 1):
        above, below = (rows[reach + sign * distance :][:size] for sign in (-1, 1))
        pair = (above + below).astype(np.float64)
        total = (pair * float(weights[reach + distance]) + total).astype(np.float32)
    return total


def convolved(x: Planes, kernel: Float64[Tensor, "k k"]) -> Planes:
    """With a symmetric kernel; outside, the image is mirrored without repeating its edge pixels."""
    reach, (height, width) = kernel.shape[0] // 2, x.shape[2:]
    padded = F.pad(x, (reach,) * 4, mode="reflect")
    sides = [16 * ceil(side / 16) for side in padded.shape[2:]]  # fast for the transform
    spectrum = torch.fft.rfft2(padded, s=sides)
    spectrum *= torch.fft.rfft2(kernel.to(x.device), s=sides)
    return torch.fft.irfft2(spectrum, s=sides)[..., 2 * reach :, 2 * reach :][..., :height, :width]


def motion_blurred(
    x: Pixels, radius: float, deviation: float, degrees: Float64[Tensor, " n"]
) -> Pixels:
    """ImageMagick's motion blur at one angle per image, which is on the CPU.

    Each pixel is a mean of 2 radius + 1 pixels on a line that starts there, weighted by one half of
    a Gaussian, with whole steps and edge pixels repeated outside. Truncated, at most one value in
    200 differs from ImageMagick 6.9's, by one; these are the steps of imagecorruptions.
    """
    steps = torch.arange(2 * int(radius) + 1, dtype=torch.float64)
    density = np.exp(-(steps.numpy() ** 2) / (2 * deviation**2)) / (np.sqrt(2 * np.pi) * deviation)
    weights = (density / density.sum()).tolist()  # the root cancels, but for their last bits
    angles = degrees.deg2rad()[:, None]
    down, right = ((steps * of(angles) - 0.5).ceil().long() for of in (torch.sin, torch.cos))
    channels, height, width = x.shape[1:]
    reach = min(int(right.abs().max()), width - 1)  # beyond it, edge pixels alone
    padded = F.pad(x.double(), (reach, reach, 0, 0), mode="replicate")
    planes = torch.arange(len(x) * channels).view(-1, 1, channels, 1)
    rows = (torch.arange(height) + down[..., None]).clamp_(0, height - 1)[:, :, None]
    first = right.clamp(-reach, reach)[..., None, None] + reach
    starts = ((planes * height + rows) * padded.shape[3] + first).to(x.device)
    windows = padded.as_strided((padded.numel() - width + 1, width), (1, 1))
    total = torch.zeros((x.numel() // width, width), dtype=torch.float64, device=x.device)
    for start, weight in zip(starts.unbind(1), weights, strict=True):
        total += windows.index_select(0, start.flatten()).mul_(weight)
    return quantized(total).view(x.shape)
