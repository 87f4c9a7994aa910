"""Folders of small JPEGs, each a part of one of the two photographs that scikit-learn ships."""

from functools import cache
from pathlib import Path
from random import Random

from PIL import Image
from sklearn.datasets import load_sample_images


@cache
def originals() -> list[Image.Image]:
    return [Image.fromarray(image) for image in load_sample_images().images]


def part(draws: Random, of: int, side: int) -> Image.Image:
    """Of one photograph, of random shape."""
    whole = originals()[of % 2]
    width, height = side + draws.randrange(side), side + draws.randrange(side)
    left, top = draws.randrange(whole.width - width), draws.randrange(whole.height - height)
    return whole.crop((left, top, left + width, top + height))


def folder(root: Path, train: int = 6, val: int = 3, classes: int = 3, side: int = 40) -> Path:
    """root/train/class0/00.JPEG and so on: so many of each class."""
    draws = Random(0)
    for name, count in (("train", train), ("val", val)):
        for label in range(classes):
            place = root / name / f"class{label}"
            place.mkdir(parents=True)
            for number in range(count):
                part(draws, label, side).save(place / f"{number:02}.JPEG", quality=90)
    return root


def damage(path: Path) -> Path:
    """Half of the file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path
