"""The size of a dataset, as far as its config tells before any of it is read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hydra.utils import instantiate
from omegaconf import OmegaConf

from vicinal.data.split import WithKnownSize


class Size(NamedTuple):
    """The samples left for training and for evaluation, and the shape that a network sees."""

    train: int
    test: int  # with what is held out, or a validation set: it is evaluated as often
    shape: tuple[int, ...]  # () if a sample is a word of a text
    classes: int


def size_of(dataset: Mapping[str, Any]) -> Size | None:
    """The size by a dataset's config, as a record has it; None if it is not known."""
    seeded = OmegaConf.create({"seed": 0, "source": dataset.get("source")})  # a fold may be ${seed}
    source = instantiate(seeded, _convert_="all")["source"]
    known = source.known_size if isinstance(source, WithKnownSize) else dataset.get("known_size")
    if known is None:
        return None
    classes, train = known["classes"], known["train"]
    holdout, cap = dataset.get("holdout_per_class", 0), dataset.get("train_per_class")

    def left(images: int, of_classes: int) -> int:
        rest = images - of_classes * holdout
        return rest if cap is None else min(rest, of_classes * cap)

    each = [(train, classes)] if isinstance(train, int) else [(count, 1) for count in train]
    side = dataset.get("size")
    largest = (dataset["short"], dataset["long"]) if "short" in dataset else (side, side)
    shape = known.get("shape", (3, *largest))
    return Size(
        train=sum(left(*part) for part in each),
        test=known["test"] + known.get("valid", 0) + classes * holdout,
        shape=(shape[0], side, side) if side else tuple(shape),
        classes=classes,
    )
