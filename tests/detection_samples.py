"""A small set of drawn photos in COCO's format, and the settings of a run on it."""

import json
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

from vicinal.contracts import Objects
from vicinal.models.mask_rcnn import MaskRcnn
from vicinal.models.timm import Timm

SIDE = 64
CATEGORIES = (7, 3)  # ids of rectangles and triangles, not in order and not from 1
COLOURS = {7: (220, 40, 40), 3: (40, 60, 220)}
SMALL = (
    "dataset.short=64 dataset.long=96 dataset.train=train dataset.test=val "
    "model.backbone.name=test_resnet +model.backbone.options.zero_init_last=false model.width=16 "
    "model.hidden=32 model.proposals=200 model.regions=32 runtime=cpu runtime.threads=1 "
    "runtime.workers=0 runtime.checkpoint_seconds=0 runtime.progress=false schedule.epochs=2 "
    "schedule.batch_size=4 schedule.warmup_steps=2"
).split()


def drawn_set(folder: Path, train: int = 11, test: int = 4) -> Path:
    """Write photos with a rectangle and a triangle each; the first of each split has neither.

    The last one of the training set has a crowd, too.
    """
    (folder / "annotations").mkdir(parents=True)
    for name, count in (("train", train), ("val", test)):
        (folder / name).mkdir()
        drawn, tree = Random(name), _empty()
        for number in range(count):
            _photo(folder / name, tree, number, drawn, shows=number > 0)
        if name == "train":
            _crowd(tree)
        (folder / "annotations" / f"instances_{name}.json").write_text(json.dumps(tree))
    return folder


def _empty() -> dict[str, Any]:
    categories = [{"id": each, "name": f"kind{each}"} for each in CATEGORIES]
    return {"images": [], "annotations": [], "categories": categories}


def _photo(folder: Path, tree: dict[str, Any], number: int, drawn: Random, shows: bool) -> None:
    width, height = ((SIDE, SIDE), (96, SIDE), (SIDE, 90))[number % 3]
    image = Image.new("RGB", (width, height), (120, 120, 120))
    canvas = ImageDraw.Draw(image)
    tree["images"].append(
        {"id": 100 + number, "file_name": f"{number}.png", "width": width, "height": height}
    )
    for category in CATEGORIES if shows else ():
        side = drawn.randrange(24, 34)
        left, top = drawn.randrange(width - side), drawn.randrange(height - side)
        right, bottom = left + side, top + side
        points = [(left, bottom), (right, bottom), (left, top)]
        if category == CATEGORIES[0]:
            points = [(left, top), (right, top), (right, bottom), (left, bottom)]
        canvas.polygon(points, fill=COLOURS[category])
        outline = [float(value) for point in points for value in point]
        _annotate(tree, 100 + number, category, [left, top, side, side], [outline])
    image.save(folder / f"{number}.png")


def _annotate(
    tree: dict[str, Any], image: int, category: int, box: list[int], outline: Any, crowd: int = 0
) -> None:
    tree["annotations"].append(
        {
            "id": len(tree["annotations"]) + 1,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": box[2] * box[3],
            "segmentation": outline,
            "iscrowd": crowd,
        }
    )


def _crowd(tree: dict[str, Any]) -> None:
    """The upper half of the last photo."""
    image = tree["images"][-1]
    width, height = image["width"], image["height"]
    mask = np.zeros((height, width), bool)
    mask[: height // 2] = True
    runs = [0, *[height // 2, height - height // 2] * width]
    coded = {"counts": runs, "size": [height, width]}
    _annotate(tree, image["id"], CATEGORIES[0], [0, 0, width, height // 2], coded, crowd=1)


def scene(count: int = 2, side: int = SIDE, seed: int = 0) -> tuple[torch.Tensor, Objects]:
    """Photos of noise, each with a bright square of class 1; the last is narrower."""
    generator = torch.Generator().manual_seed(seed)
    x = 0.3 * torch.rand(count, 3, side, side, generator=generator)
    masks = torch.zeros(count, side, side, dtype=torch.uint8)
    boxes = torch.tensor([[8.0, 16.0, 40.0, 44.0]]).repeat(count, 1)
    x[:, :, 16:44, 8:40] = 0.9
    masks[:, 16:44, 8:40] = 1
    sizes = ((side, side),) * (count - 1) + ((side, side - 10),)
    x[-1, :, :, side - 10 :] = 0
    return x, Objects(boxes, torch.ones(count, dtype=torch.int64), masks, (1,) * count, sizes)


def network(**settings: int) -> MaskRcnn:
    """A small detector of two classes, with random weights and statistics of its own."""
    torch.manual_seed(0)
    small = {"width": 8, "hidden": 16, "proposals": 100, "regions": 16} | settings
    backbone = partial(Timm, "test_resnet", options={"zero_init_last": False})
    model = MaskRcnn(backbone, **small, num_classes=2, shape=(3, SIDE, SIDE))
    for module in model.trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return model.normalized((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)).train()
