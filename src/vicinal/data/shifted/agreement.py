"""Refuse a published set that does not fit the test set of a run."""

import torch

from vicinal.data.split import Part
from vicinal.errors import RunError


def check_agreement(name: str, found: Part, test: Part) -> None:
    """Compare the images' shape, the number of classes and, for sets of one size, their counts.

    The order of the samples is not compared: a copy of the data may be sorted in another way, and
    only the labels of the set itself decide what is counted as correct.
    """
    if found.shape != test.shape:
        raise _error(name, "images of", *(" x ".join(map(str, p.shape)) for p in (found, test)))
    counts, own = (torch.bincount(part.y.cpu()) for part in (found, test))
    if len(counts) != len(own):
        raise _error(name, "the number of classes", len(counts), len(own))
    if len(found) == len(test) and not torch.equal(counts, own):
        label = int((counts != own).nonzero()[0])
        raise _error(name, f"samples of class {label}:", int(counts[label]), int(own[label]))


def _error(name: str, what: str, found: object, own: object) -> RunError:
    return RunError(f"the run's test set must be the one of {name}: {what} {found}, got {own}")
