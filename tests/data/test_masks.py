"""Masks of annotated objects are drawn where their outlines are, at any size and flipped."""

import builtins

import numpy as np
import pytest
from oracles import detection as oracle
from wording import says

from vicinal.data import masks
from vicinal.errors import RunError

STAR = [10.0, 4.0, 52.0, 9.0, 40.0, 30.0, 55.0, 47.0, 22.0, 50.0, 16.0, 25.0]
SIZE = (60, 70)


def test_without_cocos_tools_one_line_names_the_extra(monkeypatch):
    original = builtins.__import__

    def missing(name, *rest):
        if name.startswith("pycocotools"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(RunError, match=says("^pycocotools ... vicinal")):
        masks.check_tools()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [(60, 70), (90, 105), (31, 50)])
def test_a_polygon_covers_the_pixels_whose_centres_it_holds(size, flip):
    """COCO's tools differ from that by pixels on the edge."""
    (height, width), (of_height, of_width) = size, SIZE
    found = masks.drawn([np.array(STAR)], SIZE, size, flip)
    points = np.array(STAR).reshape(-1, 2) * [width / of_width, height / of_height]
    expected = oracle.mask(points.ravel().tolist(), height, width)
    expected = expected[:, ::-1] if flip else expected
    assert found.dtype == np.uint8
    assert (found != expected).mean() < 0.02
    inside = _eroded(expected)
    assert inside.any()
    assert found[inside].all()
    assert not found[_eroded(1 - expected)].any()


def test_several_polygons_are_one_mask():
    left, right = [2.0, 2, 20, 2, 20, 20, 2, 20], [40.0, 30, 60, 30, 60, 50]
    both = masks.drawn([np.array(left), np.array(right)], SIZE, SIZE, False)
    each = [masks.drawn([np.array(one)], SIZE, SIZE, False) for one in (left, right)]
    assert np.array_equal(both, np.maximum(*each))


@pytest.mark.parametrize("flip", [False, True])
def test_run_lengths_go_down_the_columns(flip):
    mask = np.zeros((6, 8), np.uint8)
    mask[1:4, 2:7] = 1
    runs = [0, *np.diff(np.flatnonzero(np.diff(np.r_[2, mask.T.ravel(), 2])))]
    counts = [int(each) for each in runs]
    counts = counts[1:] if mask[0, 0] == 0 else counts
    outline = {"counts": counts, "size": [6, 8]}
    expected = mask.repeat(2, 0).repeat(2, 1)
    found = masks.drawn(outline, (6, 8), (12, 16), flip)
    assert np.array_equal(found, expected[:, ::-1] if flip else expected)
    packed = masks.encoded(mask[None])[0]
    assert np.array_equal(masks.drawn(packed, (6, 8), (6, 8), False), mask)


def test_a_detector_that_finds_all_is_perfect_and_one_that_finds_nothing_is_not():
    truth = {
        "images": [{"id": 5, "height": 60, "width": 70}],
        "categories": [{"id": 2}],
        "annotations": [
            {
                "id": 1,
                "image_id": 5,
                "category_id": 2,
                "bbox": [10, 4, 45, 46],
                "area": 1000,
                "segmentation": [STAR],
                "iscrowd": 0,
            }
        ],
    }
    hit = {"image_id": 5, "category_id": 2, "score": 0.9, "bbox": [10, 4, 45, 46]}
    mask = masks.encoded(masks.drawn([np.array(STAR)], SIZE, SIZE, False)[None])[0]
    assert masks.precision(truth, [hit], "bbox") == pytest.approx(1)
    of_mask = {key: hit[key] for key in ("image_id", "category_id", "score")}
    assert masks.precision(truth, [of_mask | {"segmentation": mask}], "segm") == pytest.approx(1)
    assert masks.precision(truth, [], "bbox") == 0
    # An IoU of 0.84 counts at 7 of the ten thresholds.
    narrow = [10, 4, 45 * 0.84, 46]
    assert masks.precision(truth, [hit | {"bbox": narrow}], "bbox") == pytest.approx(0.7)
    assert oracle.overlap([10, 4, 55, 50], [10, 4, 10 + narrow[2], 50]) == pytest.approx(0.84)


def _eroded(mask):
    """Where the pixel and all of its neighbours are set."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    near = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.min(near, 0).astype(bool)
