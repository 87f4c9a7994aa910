"""ImageNet-C and Tiny-ImageNet-C as published: folders of JPEGs per corruption, severity and class.

Paper:    Hendrycks, Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
          Perturbations, ICLR 2019, arXiv 1903.12261
Images are read from the archives in place, or from the folders that were extracted from them.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Shaped

from vicinal.data.decode.crops import content
from vicinal.data.decode.folder import decoded
from vicinal.data.download import RemoteFile
from vicinal.data.image_folder import class_folders
from vicinal.data.shifted.agreement import check_agreement
from vicinal.data.shifted.corruptions import check_corruptions, parsed, set_names
from vicinal.data.shifted.tar_index import tar_index
from vicinal.data.split import Labels, Part, Split
from vicinal.data.stream import StreamedSplit
from vicinal.data.streamed_images import listed
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.images.corruptions.corrupt import COMMON, EXTRA

_ZENODO = "https://zenodo.org/records"


def _imagenet_c(name: str, md5: str, size: int) -> RemoteFile:
    url = f"{_ZENODO}/2235448/files/{name}?download=1"
    return RemoteFile(f"ImageNet-C/{name}", (url,), f"md5:{md5}", size)


NOISE = _imagenet_c("noise.tar", "e80562d7f6c3f8834afb1ecf27252745", 22_565_673_785)
BLUR = _imagenet_c("blur.tar", "2d8e81fdd8e07fef67b9334fa635e45c", 7_112_704_951)
WEATHER = _imagenet_c("weather.tar", "33ffea4db4d93fe4a428c40a6ce0c25d", 12_797_438_995)
DIGITAL = _imagenet_c("digital.tar", "89157860d7b10d5797849337ca2e5c03", 7_757_510_705)
EXTRAS = _imagenet_c("extra.tar", "d492dfba5fc162d8ec2c3cd8ee672984", 15_789_490_144)
TINY_IMAGENET_C = RemoteFile(
    name="Tiny-ImageNet-C.tar",
    urls=(
        f"{_ZENODO}/8206060/files/Tiny-ImageNet-C.tar?download=1",
        f"{_ZENODO}/2536630/files/Tiny-ImageNet-C.tar?download=1",
    ),
    checksum="md5:f9c9a9dbdc11469f0b850190f7ad8be1",
    size=1_794_775_040,
)
IN_ARCHIVES = {  # in the order of COMMON, then of EXTRA
    NOISE: COMMON[:3],
    BLUR: COMMON[3:7],
    WEATHER: COMMON[7:11],
    DIGITAL: COMMON[11:],
    EXTRAS: EXTRA,
}
ARCHIVES: Mapping[str, Mapping[str, RemoteFile]] = {
    "ImageNet-C": {each: file for file, those in IN_ARCHIVES.items() for each in those},
    "Tiny-ImageNet-C": dict.fromkeys(COMMON, TINY_IMAGENET_C),
}
PER_CLASS = 50  # images, in both sets
TINY_CLASSES = 200
SIDE = 224  # of ImageNet-C's images


@dataclass(frozen=True)
class TinyImageNetC:
    """200 classes of ImageNet's validation images, cropped to 64 x 64 and corrupted.

    The crops were made for this set: they are not the images of Tiny-ImageNet's own test set, so
    generating corruptions from those gives another benchmark.
    """

    root: str = "data"
    corruptions: Sequence[str] = COMMON  # the others have no archive, but may be in a folder

    def __post_init__(self) -> None:
        check_corruptions(self.corruptions, COMMON + EXTRA)

    @property
    def names(self) -> tuple[str, ...]:
        """gaussian_noise_1 and so on."""
        return set_names(self.corruptions)

    def load(self, name: str, test: Part, rng: Rng) -> Split:
        """10,000 images, decoded, in the order of their classes' WordNet ids."""
        found = _found(Path(self.root).expanduser(), "Tiny-ImageNet-C", name)
        if len(found.classes) != TINY_CLASSES:
            raise RunError(
                f"{found.root} must have {TINY_CLASSES} classes ({name}), got {len(found.classes)} "
                "(an older archive than Zenodo's record 8206060 has 1000 under frost)"
            )
        paths = [str(Path(found.root, os.fsdecode(each))) for each in found.names.tolist()]
        split = Split(decoded(paths, content, size=None), found.y)
        check_agreement(f"Tiny-ImageNet-C ({name})", split, test)
        return split.to(str(test.y.device))


@dataclass(frozen=True)
class ImageNetC:
    """ImageNet's validation images, resized and cropped to 224 x 224, then corrupted.

    They are cropped again only where the network sees less. AugMax's code resizes them to 256
    first, as it does clean images, which enlarges their centres; `resize=256` does the same.
    """

    root: str = "data"
    corruptions: Sequence[str] = COMMON
    resize: int | None = None  # of the shorter side, before the central crop

    def __post_init__(self) -> None:
        check_corruptions(self.corruptions, COMMON + EXTRA)
        if self.resize is not None and self.resize < 1:
            raise ValueError(f"resize must be at least 1, got {self.resize}")

    @property
    def names(self) -> tuple[str, ...]:
        """gaussian_noise_1 and so on."""
        return set_names(self.corruptions)

    def load(self, name: str, test: Part, rng: Rng) -> StreamedSplit:
        """50,000 images, decoded as those of `test` are when a batch is asked for."""
        if not isinstance(test, StreamedSplit):
            raise RunError(
                "dataset must be streamed, as dataset=imagenet, to be measured on ImageNet-C, "
                f"got a {type(test).__name__} in memory"
            )
        resize = self.resize or SIDE
        if test.crop.size > resize:
            raise RunError(
                f"dataset.size must be at most {resize} to be measured on ImageNet-C, got "
                f"{test.crop.size} (its images have {SIDE} pixels a side; resize enlarges them)"
            )
        found = _found(Path(self.root).expanduser(), "ImageNet-C", name)
        if found.classes != test.classes:
            odd = sorted(set(found.classes) ^ set(test.classes))
            raise RunError(
                f"{found.root} must have the classes of the run's test set ({name}), got only in "
                f"one: {', '.join(odd[:5])}"
            )
        return replace(
            test,
            root=found.root,
            names=found.names,
            y=found.y.to(test.y.device),
            crop=replace(test.crop, resize=resize),
            replaced={},
            redrawn=None,
        )


class _Found(NamedTuple):
    root: str  # a folder, or an archive
    names: Shaped[np.ndarray, " n"]  # as bytes; below the root, as decoders read them
    y: Labels
    classes: tuple[str, ...]


def _found(root: Path, family: str, name: str) -> _Found:
    """The images of a set, in the archive if that is there, else in a folder, else downloaded."""
    corruption, severity = parsed(name)
    archive = ARCHIVES[family].get(corruption)
    folder = root / family / corruption / str(severity)
    there = archive is not None and (root / archive.name).exists()
    if archive is not None and (there or not folder.is_dir()):
        found = _in_archive(archive, root, f"{corruption}/{severity}")
    elif folder.is_dir():
        classes = class_folders(folder)
        files, y, _ = listed(folder, classes)
        found = _Found(str(folder), files, y, tuple(classes))
    else:
        raise RunError(f"{folder} must hold a folder per class, got no such folder")
    counts = torch.bincount(found.y)
    if (counts != PER_CLASS).any():
        label = int((counts != PER_CLASS).nonzero()[0])
        raise RunError(
            f"{found.root} must hold {PER_CLASS} images of each class ({name}), got "
            f"{int(counts[label])} of {found.classes[label]}"
        )
    return found


def _in_archive(archive: RemoteFile, root: Path, folder: str) -> _Found:
    files = tar_index(archive, root).below(folder)
    if not len(files):
        raise RunError(f"{root / archive.name} must hold {folder}, got no such folder")
    labels = [os.fsdecode(file.split(b"/")[2]) for file in files.tolist()]
    classes, y = np.unique(labels, return_inverse=True)
    return _Found(str(root / archive.name), files, torch.from_numpy(y), tuple(classes.tolist()))
