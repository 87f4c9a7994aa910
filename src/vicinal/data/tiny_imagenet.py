"""Tiny-ImageNet-200 as published: JPEGs in a zip archive, decoded once.

Le and Yang, "Tiny ImageNet Visual Recognition Challenge", Stanford CS231n, 2015. The published
test images have no labels, so papers test on the 10,000 validation images.
"""

import sys
from pathlib import Path
from zipfile import ZipFile

import torch

from vicinal.data import npz
from vicinal.data.decode.folder import decoded
from vicinal.data.download import RemoteFile, fetch
from vicinal.data.split import Split

TINY_IMAGENET = RemoteFile(
    name="tiny-imagenet-200.zip",
    urls=(
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "https://huggingface.co/datasets/cnak47/cv-datasets/resolve/main/tiny-imagenet-200.zip",
    ),
    checksum="sha256:6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
    size=248_100_043,
)
FOLDER = "tiny-imagenet-200"
KEY = TINY_IMAGENET.checksum.removeprefix("sha256:")  # of packed copies, also older ones


def tiny_imagenet(root: Path) -> tuple[Split, Split]:
    """100,000 + 10,000 images of 64 x 64 in 200 classes, in the order of their WordNet ids."""
    packed = root / f"{FOLDER}.npz"
    if npz.key(packed) != KEY:
        path = fetch(TINY_IMAGENET, root)
        print(f"decoding {path}, once", file=sys.stderr)
        with ZipFile(path) as archive:
            train, test = _labels(archive)
            splits = [_split(archive, labels) for labels in (train, test)]
        npz.write(packed, *splits, key=KEY)
    return npz.images(packed)


def _labels(archive: ZipFile) -> tuple[dict[str, int], dict[str, int]]:
    """The classes of training and validation images, by their names in the archive."""
    classes = sorted(archive.read(f"{FOLDER}/wnids.txt").decode().split())
    index = {wnid: label for label, wnid in enumerate(classes)}
    train = {
        name: index[name.split("/")[2]]
        for name in sorted(archive.namelist())
        if name.startswith(f"{FOLDER}/train/") and name.endswith(".JPEG")
    }
    annotations = archive.read(f"{FOLDER}/val/val_annotations.txt").decode().splitlines()
    rows = [line.split("\t")[:2] for line in annotations if line]
    return train, {f"{FOLDER}/val/images/{name}": index[wnid] for name, wnid in rows}


def _split(archive: ZipFile, labels: dict[str, int]) -> Split:
    x = decoded(list(labels), archive.read, size=None)
    return Split(x, torch.tensor(list(labels.values())))
