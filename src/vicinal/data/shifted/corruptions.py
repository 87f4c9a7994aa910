"""Names of corrupted sets, as gaussian_noise_1: a corruption and its severity, from 1 to 5.

Paper:    Hendrycks, Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
          Perturbations, ICLR 2019, arXiv 1903.12261; §4 lists the corruptions in this order
"""

from collections.abc import Sequence

COMMON = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")  # for choosing settings
SEVERITIES = (1, 2, 3, 4, 5)


def check_corruptions(corruptions: Sequence[str], known: Sequence[str]) -> None:
    """Check a setting that lists corruptions."""
    unknown = [each for each in corruptions if each not in known]
    if unknown or not corruptions or len(set(corruptions)) < len(corruptions):
        raise ValueError(
            f"corruptions must be different ones of {', '.join(known)}, "
            f"got {', '.join(unknown or corruptions) or 'none'}"
        )


def set_names(corruptions: Sequence[str]) -> tuple[str, ...]:
    """The sets of these corruptions, at every severity."""
    return tuple(f"{each}_{severity}" for each in corruptions for severity in SEVERITIES)


def parsed(name: str) -> tuple[str, int]:
    """The corruption and the severity of a set."""
    corruption, _, severity = name.rpartition("_")
    return corruption, int(severity)
