"""What papers do to a training set: hold samples out, cap classes, add label noise."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Generator, Tensor

from vicinal.data.split import AnyPart, Labels, Rows
from vicinal.draws import derived_seed
from vicinal.errors import RunError


def check_options(dataset: Any, least: Mapping[str, int]) -> None:
    """Check the name, normalisation and label noise of a dataset, and bounds of its numbers."""
    check_name(dataset.name)
    for key, bound in least.items():
        value = getattr(dataset, key)
        if value is not None and value < bound:
            raise ValueError(f"{key} must be at least {bound}, got {value}")
    if not 0 <= dataset.label_noise <= 1:
        raise ValueError(f"label_noise must be between 0 and 1, got {dataset.label_noise}")
    mean, std = dataset.mean, dataset.std
    if (mean is None) != (std is None) or len(mean or ()) != len(std or ()):
        raise ValueError(f"std must have as many values as mean, got {std} for {mean}")
    if std is not None and not all(value > 0 for value in std):
        raise ValueError(f"std must be positive, got {std}")


def check_name(name: str) -> None:
    """Check a dataset's name: it names a folder, and appears in records and tables, in UTF-8."""
    if not name.strip(".") or Path(name).name != name:
        raise ValueError(f"name must be the name of a folder, got {name!r}")
    if not name.isprintable():  # nor are the surrogates that Python uses for non-UTF-8 bytes
        raise ValueError(f"name must be printable text, got {name!r} (choose another for the data)")


def class_rows(y: Labels, seed: int) -> list[Rows]:
    """The rows of each class 0 .. k - 1, in a random order per class."""

    def shuffled(label: int) -> Rows:
        rows = torch.nonzero(y == label).flatten()
        generator = Generator().manual_seed(derived_seed(seed, "split", label))
        return rows[torch.randperm(len(rows), generator=generator)]

    return [shuffled(label) for label in range(int(y.max()) + 1)]


def held_out(
    train: AnyPart, holdout: int, cap: int | None, seed: int
) -> tuple[AnyPart, AnyPart | None]:
    """`holdout` samples of each class as a validation split, then at most `cap` of the rest.

    Both keep the order of the data. A larger cap with the same seed contains the smaller one's
    samples. PatchUp's SVHN is `holdout=733, cap=7325`.
    """
    rows = class_rows(train.y, seed)
    for label, members in enumerate(rows):
        if holdout >= len(members):
            raise RunError(
                "dataset.holdout_per_class must be less than the size of every class, got "
                f"{holdout} (class {label} has {len(members)} training samples)"
            )
    if holdout == 0 and cap is None:
        return train, None
    end = None if cap is None else holdout + cap
    kept = torch.cat([members[holdout:end] for members in rows]).sort().values
    valid = torch.cat([members[:holdout] for members in rows]).sort().values
    return train[kept], train[valid] if holdout else None


def stratified(y: Labels, share: float, seed: int) -> tuple[Rows, Rows]:
    """Rows for training and rows for testing: ceil(n * share), the same share of each class.

    The largest remainders are rounded up where a class's share is not a whole number. No class goes
    to the test set as a whole, so the test set is smaller where nearly all classes are tiny.
    """
    rows = class_rows(y, seed)
    shares = [len(members) * share for members in rows]
    counts = [math.floor(part) for part in shares]
    by_remainder = sorted(range(len(rows)), key=lambda k: counts[k] - shares[k])  # stable
    missing = math.ceil(round(len(y) * share, 9)) - sum(counts)
    for label in [k for k in by_remainder if counts[k] + 1 < len(rows[k])][:missing]:
        counts[label] += 1
    test = torch.cat([members[:count] for members, count in zip(rows, counts, strict=True)])
    train = torch.cat([members[count:] for members, count in zip(rows, counts, strict=True)])
    return train.sort().values, test.sort().values


def noisy_labels(
    y: Labels, probability: float, num_classes: int, seed: int
) -> tuple[Labels, Bool[Tensor, " n"]]:
    """Each label is selected with `probability` and redrawn over all classes, its own included.

    mixup §3.4 after Zhang et al. 2017, "Understanding deep learning requires rethinking
    generalization": at probability p a share p (k - 1) / k of the labels ends up wrong.
    The second result marks the selected labels, including those that drew their own class.
    """
    generator = Generator().manual_seed(derived_seed(seed, "label noise"))
    redrawn = torch.rand(len(y), generator=generator) < probability
    drawn = torch.randint(num_classes, (len(y),), generator=generator)
    return torch.where(redrawn, drawn, y), redrawn
