"""Random data and the suite's own runs over them: the parts of every bench of steps."""

from collections.abc import Iterator
from typing import Any

import torch
from hydra.utils import get_class

from vicinal.cli.configs import CONFIGS, build, compose
from vicinal.contracts import Photos, Words, takes
from vicinal.data.dataset import Data
from vicinal.data.split import Split
from vicinal.data.text import Text, TextData
from vicinal.loop import Loop
from vicinal.run import Run
from vicinal.tables.plan import compose_cached

CIFAR, CIFAR_CLASSES = (3, 32, 32), 10


def names(group: str) -> list[str]:
    """The options of a config group."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def methods(*, text: bool = False) -> list[str]:
    """The options of `method` that classify images, or those that train on text."""

    def taken(name: str) -> Any:
        target = compose_cached((f"method={name}",))[0].method._target_
        return takes(get_class(target))

    found = {name: taken(name) for name in names("method")}
    return [name for name, x in found.items() if (x is Words) == text and x is not Photos]


def composed(*overrides: str) -> Run:
    """The run that the command line would build for CIFAR-10; a teacher needs no download."""
    teacher = ["model@method.teacher=wrn10_2"] if "method=distillation" in overrides else []
    return build(compose("dataset=cifar10", *overrides, *teacher))


def drawn_data(
    count: int, device: str, shape: tuple[int, ...] = CIFAR, classes: int = CIFAR_CLASSES
) -> Data:
    """Random pixels: the time of a step does not depend on what they show."""
    generator = torch.Generator(device).manual_seed(0)
    drawn = {"generator": generator, "device": device}
    x = torch.randint(256, (count, *shape), dtype=torch.uint8, **drawn)
    split, moments = Split(x, torch.randint(classes, (count,), **drawn)), (0.5,) * shape[0]
    return Data(split, split, None, classes, moments, moments, {}, None, unlabelled=split)


def drawn_text(count: int, device: str, words: int) -> TextData:
    """Random words from a vocabulary of so many."""
    generator = torch.Generator(device).manual_seed(0)
    text = Text(torch.randint(words, (count,), generator=generator, device=device))
    return TextData(text, text, text, words, {})


def endless(loop: Loop) -> Iterator[int]:
    """The loop's steps, epoch after epoch; yields the number of images of each."""
    while True:
        yield from loop.steps()
        loop.close_epoch()
