"""COCO 2017 (Lin et al., ECCV 2014, arXiv 1405.0312), or anyone's photos in its format.

118,287 + 5,000 photos of 80 classes; the test set is val2017, as in papers.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from vicinal.data.detection import DetectionData
from vicinal.data.download import RemoteFile, fetch
from vicinal.data.masks import Outline, check_tools
from vicinal.data.photos import Photo, PhotoSplit
from vicinal.errors import RunError
from vicinal.machine import ranks

_SITE = "http://images.cocodataset.org"
COCO = (
    RemoteFile(
        name="coco/annotations_trainval2017.zip",
        urls=(f"{_SITE}/annotations/annotations_trainval2017.zip",),
        checksum="md5:f4bbac642086de4f52a3fdda2de5fa2c",
        size=252_907_541,
    ),
    RemoteFile(
        name="coco/train2017.zip",
        urls=(f"{_SITE}/zips/train2017.zip",),
        checksum="md5:cced6f7f71b7629ddf16f17bbcfab6b2",
        size=19_336_861_798,
    ),
    RemoteFile(
        name="coco/val2017.zip",
        urls=(f"{_SITE}/zips/val2017.zip",),
        checksum="md5:442b8da7639aecaf257c1dceb8ba8c80",
        size=815_585_330,
    ),
)
FOLDERS = ("annotations", "train2017", "val2017")  # in these archives


def published(root: Path) -> Path:
    """The folder of COCO: `root` itself, or `coco` below it, downloaded and unpacked once."""
    if (root / FOLDERS[0]).is_dir():
        return root
    for file, name in zip(COCO, FOLDERS, strict=True):
        folder = root / "coco" / name
        if not folder.is_dir():
            _unpack(fetch(file, root), folder)
    return root / "coco"


def own_photos(root: Path) -> Path:
    """The folder itself."""
    return root


@dataclass(frozen=True, kw_only=True)
class Coco:
    """ROOT/annotations/instances_NAME.json and the photos in ROOT/NAME, for each of two splits.

    The shorter side of a photo becomes `short`, or the longer one `long`. A photo without objects
    is not trained on. The fingerprint is of the annotations: reading the photos would take hours.
    """

    name: str = ""  # if empty, the name of the folder
    source: Callable[[Path], Path]
    root: str
    train: str = "train2017"
    test: str = "val2017"
    short: int = 600
    long: int = 1000
    flip: bool = True
    mean: Sequence[float]
    std: Sequence[float]
    known_size: dict[str, int] | None = None  # classes, train, test of the original

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", Path(self.root).name)
        if not 1 <= self.short <= self.long:
            raise ValueError(f"short must be in 1 .. long, {self.long}, got {self.short}")
        for key in ("mean", "std"):
            if len(getattr(self, key)) != 3:
                raise ValueError(f"{key} must have 3 values, got {list(getattr(self, key))}")

    def load(self) -> DetectionData:
        """Read the annotations."""
        check_tools()
        folder = self.source(Path(self.root).expanduser())
        (train, mark), (test, of_test) = (_read(folder, name) for name in (self.train, self.test))
        categories = tuple(sorted(each["id"] for each in train["categories"]))
        if categories != tuple(sorted(each["id"] for each in test["categories"])):
            raise RunError(
                f"{folder} must have the same categories in {self.train} and {self.test}"
            )
        photos, tested = (photos_of(tree, categories) for tree in (train, test))
        learnt = [photo for photo in photos if len(photo.boxes)]
        for name, found in ((self.train, learnt), (self.test, tested)):
            if not any(len(photo.boxes) for photo in found):
                raise RunError(f"{folder / name} must have annotated objects, got none")
        split = partial(PhotoSplit, categories=categories, short=self.short, long=self.long)
        return DetectionData(
            train=split(str(folder / self.train), learnt, flip=self.flip),
            test=split(str(folder / self.test), tested, truth=test),
            mean=tuple(map(float, self.mean)),
            std=tuple(map(float, self.std)),
            fingerprint={"train": mark, "test": of_test},
            canonical=self._is_original(len(categories), len(photos), len(tested)),
        )

    def _is_original(self, classes: int, train: int, test: int) -> bool | None:
        """Different numbers prove that it is not; equal ones raise no doubt, but prove nothing."""
        found = {"classes": classes, "train": train, "test": test}
        if self.known_size is None or found == self.known_size:
            return None
        if ranks.is_main():
            others = ", ".join(f"{number:,} ({key})" for key, number in found.items())
            said = f"{self.root} is not the original {self.name}: it has {others}"
            print(f"{said}; its records will say so", file=sys.stderr)
        return False


def photos_of(tree: Mapping[str, Any], categories: Sequence[int]) -> list[Photo]:
    """The photos of a file of annotations, by id, with their objects but for crowds.

    Boxes are cut at the edges of the photo; those of less than a pixel are left out.
    """
    label = {category: number for number, category in enumerate(categories)}
    objects: dict[int, list[Mapping[str, Any]]] = {image["id"]: [] for image in tree["images"]}
    for each in tree["annotations"]:
        if not each.get("iscrowd", 0):
            objects[each["image_id"]].append(each)
    found = []
    for image in sorted(tree["images"], key=lambda each: each["id"]):
        size = image["height"], image["width"]
        boxes = [_corners(each["bbox"], size) for each in objects[image["id"]]]
        pairs = zip(objects[image["id"]], boxes, strict=True)
        kept = [(e, box) for e, box in pairs if (box[2:] - box[:2] >= 1).all()]
        found.append(
            Photo(
                id=image["id"],
                name=image["file_name"],
                size=size,
                boxes=np.array([box for _, box in kept]).reshape(-1, 4),
                labels=np.array([label[e["category_id"]] for e, _ in kept], np.int64),
                outlines=[_outline(e["segmentation"]) for e, _ in kept],
            )
        )
    return found


def _corners(box: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """Left, top, right, bottom of left, top, width, height."""
    left, top, width, height = box
    edges = np.array([left, top, left + width, top + height], np.float64)
    return np.clip(edges, 0, [size[1], size[0]] * 2)


def _outline(segmentation: Any) -> Outline:
    if isinstance(segmentation, dict):
        return segmentation
    return [np.array(polygon, np.float64) for polygon in segmentation]


def _read(folder: Path, name: str) -> tuple[dict[str, Any], str]:
    """The annotations of a split, and their digest."""
    path = folder / "annotations" / f"instances_{name}.json"
    try:
        content = path.read_bytes()
        tree = json.loads(content)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} must be a file of annotations, got: {error}") from error
    if not isinstance(tree, dict) or not {"images", "annotations", "categories"} <= tree.keys():
        raise RunError(f"{path} must hold images, annotations and categories")
    return tree, hashlib.blake2b(content, digest_size=16).hexdigest()


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive that holds this folder; it has its name once it is complete."""
    print(f"unpacking {archive}, once", file=sys.stderr)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with ZipFile(archive) as file:
        file.extractall(part)
    (part / folder.name).rename(folder)
    part.rmdir()
