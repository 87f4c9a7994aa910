"""ImageNet-C's corruptions of one image, literally, from draws that are handed in.

Images are arrays (h, w, 3) of bytes. Filters are SciPy's, scikit-image's and OpenCV's, as in the
original; the latter two come with imagecorruptions and are imported where they are needed.
"""

from collections.abc import Callable
from io import BytesIO
from math import ceil, cos, pi, radians, sin, sqrt

import numpy as np
from PIL import Image
from PIL.Image import Resampling
from scipy import ndimage

Array = np.ndarray


def in_bytes(values: Array) -> Array:
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)


def gaussian_noise(image: Array, c: tuple, noise: Array) -> Array:
    return in_bytes(image / 255.0 + c[0] * noise)


def shot_noise(image: Array, c: tuple, counts: Array) -> Array:
    return in_bytes(counts / c[0])


def impulse_noise(image: Array, c: tuple, chance: Array) -> Array:
    values = image / 255.0
    values[chance < c[0]] = 0
    values[chance < c[0] / 2] = 1
    return in_bytes(values)


def speckle_noise(image: Array, c: tuple, noise: Array) -> Array:
    return in_bytes(image / 255.0 + image / 255.0 * c[0] * noise)


def smoothed(values: Array, deviation: float) -> Array:
    """scikit-image's gaussian over the first two axes."""
    deviations = (deviation, deviation, 0)[: values.ndim]
    return ndimage.gaussian_filter(values, deviations, mode="nearest", truncate=4.0)


def gaussian_blur(image: Array, c: tuple) -> Array:
    return in_bytes(smoothed(image / 255.0, c[0]))


def defocus_blur(image: Array, c: tuple) -> Array:
    import cv2  # noqa: PLC0415

    radius, softening = c
    half, size = (8, 3) if radius <= 8 else (radius, 5)
    across, down = np.meshgrid(np.arange(-half, half + 1), np.arange(-half, half + 1))
    disk = (across**2 + down**2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (size, size), softening)
    return in_bytes(cv2.filter2D(image / 255.0, -1, kernel))


def glass_blur(image: Array, c: tuple, moves: Array) -> Array:
    """`moves` has (right, down) for each pass and pixel."""
    deviation, reach, _ = c
    x = in_bytes(smoothed(image / 255.0, deviation))
    height, width = x.shape[:2]
    for right, down in moves:
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                there = h + down[h, w], w + right[h, w]
                x[h, w], x[there] = x[there], x[h, w]  # views of one array: not a swap
    return in_bytes(smoothed(x / 255.0, deviation))


def line(radius: int, deviation: float, degrees: float) -> list[tuple[float, int, int]]:
    """Weight, row and column of each pixel that is averaged."""
    width = 2 * radius + 1
    scale = sqrt(2 * pi) * deviation
    # As the original, of an array: on some processors NumPy's exp of single numbers is another,
    # and a last bit decides what a flat area is truncated to.
    weights = np.exp(-(np.arange(width) ** 2) / (2 * deviation**2)) / scale
    weights /= weights.sum()
    down, right = sin(radians(degrees)), cos(radians(degrees))
    return [(weights[i], ceil(i * down - 0.5), ceil(i * right - 0.5)) for i in range(width)]


def moved(image: Array, radius: int, deviation: float, degrees: float) -> Array:
    height, width = image.shape[:2]
    total = np.zeros(image.shape)
    for weight, down, right in line(radius, deviation, degrees):
        rows = np.clip(np.arange(height) + down, 0, height - 1)
        columns = np.clip(np.arange(width) + right, 0, width - 1)
        total += weight * image[rows][:, columns]
    return total.astype(np.uint8)


def motion_blur(image: Array, c: tuple, degrees: float) -> Array:
    return moved(image, c[0], c[1], degrees)


def middle(values: Array, factor: float) -> Array:
    side = len(values)
    part = ceil(side / factor)
    first = (side - part) // 2
    cut = values[first : first + part, first : first + part]
    enlarged = np.asarray(ndimage.zoom(cut, (factor, factor, 1)[: values.ndim], order=1))
    trim = slice((len(enlarged) - side) // 2, (len(enlarged) - side) // 2 + side)
    return enlarged[trim, trim]


def zoom_blur(image: Array, c: tuple) -> Array:
    values = (image / 255.0).astype(np.float32)
    factors, total = np.arange(1, *c), np.zeros_like(values)
    for factor in factors:
        total += middle(values, factor)
    return in_bytes((values + total) / (len(factors) + 1))


def snow(image: Array, c: tuple, flakes: Array, degrees: float) -> Array:
    mean, deviation, zoom, threshold, radius, blur, mix = c
    layer = middle(flakes * deviation + mean, zoom)
    layer[layer < threshold] = 0
    layer = moved(in_bytes(layer), radius, blur, degrees)[..., None] / 255.0
    values = (image / 255.0).astype(np.float32)
    grey = values @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    values = mix * values + (1 - mix) * np.maximum(values, grey[..., None] * 1.5 + 0.5)
    return in_bytes(values + layer + np.rot90(layer, 2))


def frost(image: Array, c: tuple, ice: Array) -> Array:
    return np.clip(c[0] * image + c[1] * ice, 0, 255).astype(np.uint8)


def plasma(noise: Array, decay: float) -> Array:
    """Point by point; all neighbours on a torus."""
    side, size = len(noise), 100.0
    heights = np.zeros((side, side))

    def fill(row: int, column: int, neighbours: list[tuple[int, int]]) -> None:
        mean = sum(heights[r % side, c % side] for r, c in neighbours) / 4
        heights[row, column] = mean + size * (size * noise[row, column])

    step = side
    while step >= 2:
        half = step // 2
        for r in range(half, side, step):
            for c in range(half, side, step):
                fill(r, c, [(r + i, c + j) for i in (-half, half) for j in (-half, half)])
        for start_r, start_c in ((0, half), (half, 0)):
            for r in range(start_r, side, step):
                for c in range(start_c, side, step):
                    fill(r, c, [(r - half, c), (r + half, c), (r, c - half), (r, c + half)])
        step, size = half, size / decay
    heights -= heights.min()
    return heights / heights.max()


def fog(image: Array, c: tuple, noise: Array) -> Array:
    weight, decay = c
    values = image / 255.0
    brightest = values.max()
    values += weight * plasma(noise, decay)[: len(image), : len(image), None]
    return in_bytes(values * brightest / (brightest + weight))


def in_hsv(image: Array, change: Callable[[Array], None]) -> Array:
    from skimage.color import hsv2rgb, rgb2hsv  # noqa: PLC0415

    values = rgb2hsv(image / 255.0)
    change(values)
    return in_bytes(hsv2rgb(values))


def brightness(image: Array, c: tuple) -> Array:
    def brighter(values: Array) -> None:
        values[..., 2] = np.clip(values[..., 2] + c[0], 0, 1)

    return in_hsv(image, brighter)


def saturate(image: Array, c: tuple) -> Array:
    def coloured(values: Array) -> None:
        values[..., 1] = np.clip(values[..., 1] * c[0] + c[1], 0, 1)

    return in_hsv(image, coloured)


def contrast(image: Array, c: tuple) -> Array:
    values = image / 255.0
    means = values.mean(axis=(0, 1))
    return in_bytes((values - means) * c[0] + means)


def elastic_transform(image: Array, c: tuple, corners: Array, fields: Array) -> Array:
    """`corners` and `fields` are uniform in [-1, 1]; OpenCV's affine map, but at exact places."""
    side = image.shape[0]
    size, smoothing, affine = (side * share for share in c)
    centre, reach = side // 2, side // 3
    points = np.array([[1, 1], [1, -1], [-1, -1]]) * reach + centre
    moved_points = np.column_stack([points + corners * affine, np.ones(3)])
    back = np.linalg.solve(moved_points, points)
    down, right = np.mgrid[:side, :side].astype(float)
    source = np.stack([right, down, np.ones_like(right)], axis=2) @ back
    values = (image / 255.0).astype(np.float32)
    values = taken(values, source[..., 1], source[..., 0], "mirror")
    across, below = (
        size * ndimage.gaussian_filter(field, smoothing, mode="reflect", truncate=3.0)
        for field in fields
    )
    return in_bytes(taken(values, down + below, right + across, "reflect"))


def taken(values: Array, rows: Array, columns: Array, outside: str) -> Array:
    at = rows, columns
    channels = np.moveaxis(values, 2, 0)
    return np.stack([ndimage.map_coordinates(c, at, order=1, mode=outside) for c in channels], 2)


def pixelate(image: Array, c: tuple) -> Array:
    few = int(len(image) * c[0])
    small = Image.fromarray(image).resize((few, few), Resampling.BOX)
    return np.array(small.resize(image.shape[:2], Resampling.BOX))


def jpeg_compression(image: Array, c: tuple) -> Array:
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=c[0])
    return np.array(Image.open(file))


def spatter(image: Array, c: tuple, noise: Array) -> Array:
    import cv2  # noqa: PLC0415

    mean, deviation, blur, threshold, strength, muddy = c
    values = (image / 255.0).astype(np.float32)
    liquid = smoothed(noise * deviation + mean, blur)
    liquid[liquid < threshold] = 0
    if muddy:
        cover = smoothed((liquid > threshold).astype(np.float32), strength)[..., None]
        cover[cover < 0.8] = 0
        mud = np.array([63, 42, 20], dtype=np.float32) / 255
        return in_bytes(values * (1 - cover) + cover * mud)
    drops = (liquid * 255).astype(np.uint8)
    far = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    far = cv2.blur(np.minimum(far, 20), (3, 3)).astype(np.uint8)
    kernel = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    relief = cv2.blur(cv2.filter2D(cv2.equalizeHist(far), cv2.CV_8U, kernel), (3, 3))
    depth = drops * relief.astype(np.float32)
    depth = depth / depth.max() * np.float32(strength)
    water = np.array([175, 238, 238], dtype=np.float32) / 255
    return in_bytes(values + depth[..., None] * water)
