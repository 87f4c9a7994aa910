"""The masks of annotated objects: polygons or run lengths, drawn as COCO's own tools draw them."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vicinal.errors import RunError

MISSING = "pycocotools must be installed for object detection (pip install 'vicinal[detection]')"

Outline = Sequence[np.ndarray] | dict[str, Any]  # polygons x, y, x, y, …; or run lengths
Size = tuple[int, int]  # height, width


def check_tools() -> None:
    """Refuse to go on without COCO's tools."""
    try:
        _tools()
    except ImportError as error:
        raise RunError(MISSING) from error


def drawn(outline: Outline, size: Size, drawn_size: Size, flip: bool) -> UInt8[np.ndarray, "h w"]:
    """The mask of an object of an image of this size, once it is resized and perhaps flipped.

    Polygons are resized before they are drawn, run lengths after that, to the nearest pixel.
    """
    mask = _tools()
    (height, width), (new_height, new_width) = size, drawn_size
    if isinstance(outline, dict):
        coded = outline
        if isinstance(outline["counts"], list):
            coded = mask.frPyObjects(outline, height, width)
        image = Image.fromarray(mask.decode(coded))
        found = np.asarray(image.resize((new_width, new_height), Image.Resampling.NEAREST))
        return np.ascontiguousarray(found[:, ::-1]) if flip else found
    scales = [new_width / width, new_height / height]
    scaled = [polygon * np.tile(scales, len(polygon) // 2) for polygon in outline]
    for polygon in scaled if flip else ():
        polygon[::2] = new_width - polygon[::2]
    coded = mask.merge(mask.frPyObjects([each.tolist() for each in scaled], new_height, new_width))
    return mask.decode(coded)


def encoded(masks: UInt8[np.ndarray, "m h w"]) -> list[dict[str, Any]]:
    """The run lengths of masks."""
    return _tools().encode(np.asfortranarray(masks.transpose(1, 2, 0)))


def precision(
    truth: dict[str, Any], found: list[dict[str, Any]], kind: Literal["bbox", "segm"]
) -> float:
    """COCO's average precision over IoUs from 0.5 to 0.95 of what was found: bbox or segm."""
    from pycocotools.coco import COCO  # noqa: PLC0415 (an extra)
    from pycocotools.cocoeval import COCOeval  # noqa: PLC0415 (an extra)

    if not found:
        return 0.0
    with redirect_stdout(io.StringIO()):
        known: Any = COCO()
        known.dataset = truth
        known.createIndex()
        measured = COCOeval(known, known.loadRes(found), kind)
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    return float(measured.stats[0])


def _tools() -> Any:
    from pycocotools import mask  # noqa: PLC0415 (an extra)

    return mask
