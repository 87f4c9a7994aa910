"""Checks of arguments that the constructors share."""

from collections.abc import Callable


def image_channels(shape: tuple[int, ...]) -> int:
    """The channels of one input, which must be an image."""
    if len(shape) != 3:
        raise ValueError(
            f"shape must be (channels, height, width), got {shape} "
            "(a convolutional network reads images; model=mlp reads feature vectors)"
        )
    return shape[0]


def maps_left(shape: tuple[int, ...], least: int, left: Callable[[int], int]) -> int:
    """The pixels of each last feature map, for a classifier that flattens them."""
    _, height, width = shape
    if min(height, width) < least:
        raise ValueError(
            f"shape must be at least {least} x {least}, got {height} x {width} "
            "(smaller inputs leave nothing to classify)"
        )
    return left(height) * left(width)


def num_blocks(depth: int, per_block: int, rest: int, reason: str) -> int:
    """The n of a network of `per_block` n + `rest` layers."""
    n, remainder = divmod(depth - rest, per_block)
    if remainder or n < 1:
        raise ValueError(f"depth must be {per_block}n + {rest}, got {depth} ({reason})")
    return n


def at_least_one(**values: int) -> None:
    """Refuse a count below one; the keyword is the argument's name."""
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    """Refuse a value that is not among the known ones."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {value}")
