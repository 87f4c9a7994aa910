"""Names of corrupted sets, as gaussian_noise_1: a corruption and its severity, from 1 to 5."""

from collections.abc import Sequence

from vicinal.images.corruptions.corrupt import SEVERITIES


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
