"""Literal readings of what object detection computes: masks, boxes, groups of photos."""

from bisect import bisect_right

import numpy as np


def mask(polygon: list[float], height: int, width: int) -> np.ndarray:
    """1 where the centre of a pixel is inside the polygon: a ray to the left crosses it oddly."""
    points = list(zip(polygon[::2], polygon[1::2], strict=True))
    found = np.zeros((height, width), np.uint8)
    for row in range(height):
        for column in range(width):
            x, y, crossings = column + 0.5, row + 0.5, 0
            for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True):
                if (y1 > y) != (y2 > y) and x1 + (y - y1) * (x2 - x1) / (y2 - y1) < x:
                    crossings += 1
            found[row, column] = crossings % 2
    return found


def size(height: int, width: int, short: int, long: int) -> tuple[int, int]:
    """The shorter side is `short`, unless that makes the longer one longer than `long`."""
    scale = short / min(height, width)
    if max(height, width) * scale > long:
        scale = long / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def group(height: int, width: int) -> int:
    """By width over height, between 2^(-3/3), 2^(-2/3), …, 2^(3/3)."""
    return bisect_right([2 ** (third / 3) for third in range(-3, 4)], width / height)


def overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union of two boxes."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return both / (area - both)
