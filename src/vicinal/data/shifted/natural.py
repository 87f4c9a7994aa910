"""Other photographs and pictures of ImageNet's classes: ImageNet-V2, -R, -A, -Sketch, or any.

Papers:   Recht, Roelofs, Schmidt, Shankar, Do ImageNet Classifiers Generalize to ImageNet?,
          ICML 2019, arXiv 1902.10811 (V2)
          Hendrycks et al., The Many Faces of Robustness, ICCV 2021, arXiv 2006.16241 (R)
          Hendrycks, Zhao, Basart, Steinhardt, Song, Natural Adversarial Examples, CVPR 2021,
          arXiv 1907.07174 (A)
          Wang, Ge, Lipton, Xing, Learning Robust Global Representations by Penalizing Local
          Predictive Power, NeurIPS 2019, arXiv 1905.13549 (Sketch)
Their archives have no checksum that their authors published, so they are not downloaded here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from vicinal.data.image_folder import class_folders
from vicinal.data.split import Part
from vicinal.data.stream import StreamedSplit
from vicinal.data.streamed_images import listed
from vicinal.draws import Rng
from vicinal.errors import RunError


@dataclass(frozen=True)
class Natural:
    """Image folders ROOT/NAME/CLASS/*, for networks that know these classes and perhaps more.

    A class is called as in the run's own data, by its WordNet id, or, where all names are numbers
    as in ImageNet-V2, by its label.
    """

    root: str = "data"
    folders: Sequence[str] = (
        "imagenetv2-matched-frequency-format-val",
        "imagenet-r",
        "imagenet-a",
        "sketch",
    )

    def __post_init__(self) -> None:
        if not self.folders or len(set(self.folders)) < len(self.folders):
            raise ValueError(f"folders must be different names, got {list(self.folders)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the folders."""
        return tuple(self.folders)

    def load(self, name: str, test: Part, rng: Rng) -> StreamedSplit:
        """The images of a folder, cropped and decoded as those of `test`, with its labels."""
        folder, streamed = self._folder(name), _streamed(test, name)
        classes = class_folders(folder)
        names, y, _ = listed(folder, classes)
        labels = torch.tensor(_labels(name, classes, streamed))
        return replace(
            streamed,
            root=str(folder),
            names=names,
            y=labels[y].to(test.y.device),
            replaced={},
            redrawn=None,
        )

    def classes(self, name: str, test: Part) -> tuple[int, ...] | None:
        """The labels that occur in a set, if not all do.

        The predictions of ImageNet-R and -A are the highest logits among these alone.
        """
        streamed = _streamed(test, name)
        labels = _labels(name, class_folders(self._folder(name)), streamed)
        return None if len(labels) == len(_known(streamed)) else tuple(sorted(labels))

    def _folder(self, name: str) -> Path:
        folder = Path(self.root).expanduser() / name
        if not folder.is_dir():
            raise RunError(f"{folder} must hold a folder per class, got no such folder")
        return folder


def _streamed(test: Part, name: str) -> StreamedSplit:
    if not isinstance(test, StreamedSplit):
        raise RunError(
            f"dataset must be streamed, as dataset=imagenet, to be measured on {name}, got a "
            f"{type(test).__name__} in memory"
        )
    return test


def _labels(name: str, classes: Sequence[str], test: StreamedSplit) -> list[int]:
    """The label of each class in the network's output."""
    known = {wnid: label for label, wnid in enumerate(_known(test))}
    if set(classes) <= set(known):
        return [known[wnid] for wnid in classes]
    if all(each.isdecimal() and int(each) < len(known) for each in classes):
        return [int(each) for each in classes]
    odd = [each for each in classes if each not in known]
    raise RunError(
        f"{name} must have classes of the run's test set, or their labels, got {', '.join(odd[:5])}"
    )


def _known(test: StreamedSplit) -> Sequence[str]:
    """The classes of the run; those of ImageNet where a network is measured without its data."""
    if len(test):
        return test.classes
    from timm.data.imagenet_info import ImageNetInfo  # noqa: PLC0415 (timm is slow to import)

    return ImageNetInfo().label_names()
