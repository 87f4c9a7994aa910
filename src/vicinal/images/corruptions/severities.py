"""The constants of ImageNet-C's corruptions: for each of three image sizes, five severities.

Paper: Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, ICLR 2019, arXiv 1903.12261. The numbers are those of hendrycks/robustness,
ImageNet-C/create_c/make_cifar_c.py, make_tinyimagenet_c.py and make_imagenet_c.py.
"""

from math import log

Constants = tuple[float, ...]
Severities = tuple[Constants, Constants, Constants, Constants, Constants]

PUBLISHED = 32, 64, 224  # pixels per side: CIFAR-10-C, Tiny-ImageNet-C, ImageNet-C


def published_side(height: int, width: int) -> int:
    """The published size whose constants serve images of this size.

    Only 32, 64 and 224 pixels have published constants. Another size uses those of the nearest of
    the three on a logarithmic scale, and an image that is not square counts by its shorter side.
    """
    return min(PUBLISHED, key=lambda side: abs(log(min(height, width) / side)))


def _one(a: float, b: float, c: float, d: float, e: float) -> Severities:
    """Severities with a single constant each."""
    return (a,), (b,), (c,), (d,), (e,)


GAUSSIAN_NOISE = {  # deviation
    32: _one(0.04, 0.06, 0.08, 0.09, 0.10),
    64: _one(0.04, 0.08, 0.12, 0.15, 0.18),
    224: _one(0.08, 0.12, 0.18, 0.26, 0.38),
}
SHOT_NOISE = {  # photons at full brightness
    32: _one(500, 250, 100, 75, 50),
    64: _one(250, 100, 50, 30, 15),
    224: _one(60, 25, 12, 5, 3),
}
IMPULSE_NOISE = {  # share of values
    32: _one(0.01, 0.02, 0.03, 0.05, 0.07),
    64: _one(0.01, 0.02, 0.05, 0.08, 0.14),
    224: _one(0.03, 0.06, 0.09, 0.17, 0.27),
}
SPECKLE_NOISE = {  # deviation
    32: _one(0.06, 0.1, 0.12, 0.16, 0.2),
    64: _one(0.15, 0.2, 0.25, 0.3, 0.35),
    224: _one(0.15, 0.2, 0.35, 0.45, 0.6),
}
DEFOCUS_BLUR = {  # radius of the disk, deviation of its softening
    32: ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    64: ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
    224: ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
}
GLASS_BLUR = {  # deviation of the blur, reach of a displacement, passes
    32: ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    64: ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
    224: ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
}
MOTION_BLUR = {  # radius, deviation
    32: ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    64: ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
    224: ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
}
_SMALL_ZOOMS = (1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)
ZOOM_BLUR = {  # end and step of numpy.arange(1, ..)
    32: _SMALL_ZOOMS,
    64: _SMALL_ZOOMS,
    224: ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
}
GAUSSIAN_BLUR = {  # deviation
    32: _one(0.4, 0.6, 0.7, 0.8, 1),
    64: _one(0.5, 0.75, 1, 1.25, 1.5),
    224: _one(1, 2, 3, 4, 6),
}
SNOW = {  # mean and deviation of flakes, zoom, threshold, radius and deviation of the fall, mix
    32: (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    64: (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
    ),
    224: (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
}
FROST = {  # share of the image, share of the frost
    32: ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    64: ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
    224: ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
}
FROST_SCALES = {32: 0.2, 64: 0.3, 224: 1.0}
FOG = {  # weight, decay from octave to octave
    32: ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    64: ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
    224: ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
}
BRIGHTNESS = {  # added to HSV's value
    32: _one(0.05, 0.1, 0.15, 0.2, 0.3),
    64: _one(0.1, 0.2, 0.3, 0.4, 0.5),
    224: _one(0.1, 0.2, 0.3, 0.4, 0.5),
}
SATURATE = {  # factor and summand of HSV's saturation
    32: ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    64: ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
    224: ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
}
SPATTER = {  # mean and deviation of drops, their blur and threshold, strength or blur, mud or water
    32: (
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ),
    64: (
        (0.62, 0.1, 0.7, 0.7, 0.6, 0),
        (0.65, 0.1, 0.8, 0.7, 0.6, 0),
        (0.65, 0.3, 1, 0.69, 0.6, 0),
        (0.65, 0.1, 0.7, 0.68, 0.6, 1),
        (0.65, 0.1, 0.5, 0.67, 0.6, 1),
    ),
    224: (
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ),
}
CONTRAST = {  # factor
    32: _one(0.75, 0.5, 0.4, 0.3, 0.15),
    64: _one(0.4, 0.3, 0.2, 0.1, 0.05),
    224: _one(0.4, 0.3, 0.2, 0.1, 0.05),
}
_SIC = 244 / 224  # the script for 224 pixels multiplies by 244, as its author remarks
ELASTIC_TRANSFORM = {  # size of the displacements, their smoothing, the affine part; x side
    32: ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    64: ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
    224: (
        (2 * _SIC, 0.7 * _SIC, 0.1 * _SIC),
        (2 * _SIC, 0.08 * _SIC, 0.2 * _SIC),
        (0.05 * _SIC, 0.01 * _SIC, 0.02 * _SIC),
        (0.07 * _SIC, 0.01 * _SIC, 0.02 * _SIC),
        (0.12 * _SIC, 0.01 * _SIC, 0.02 * _SIC),
    ),
}
PIXELATE = {  # share of the pixels per side
    32: _one(0.95, 0.9, 0.85, 0.75, 0.65),
    64: _one(0.9, 0.8, 0.7, 0.6, 0.5),
    224: _one(0.6, 0.5, 0.4, 0.3, 0.25),
}
JPEG_COMPRESSION = {  # quality
    32: _one(80, 65, 58, 50, 40),
    64: _one(65, 58, 50, 40, 25),
    224: _one(25, 18, 15, 10, 7),
}
