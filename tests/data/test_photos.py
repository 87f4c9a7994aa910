"""Photos and their boxes at the sizes, and on the side, at which a detector sees them."""

import json

import numpy as np
import pytest
import torch
from detection_samples import drawn_set
from oracles import detection as oracle
from PIL import Image
from wording import says

from vicinal.data import photos
from vicinal.data.coco import photos_of
from vicinal.data.photos import PhotoSplit, Sample, collated, resized
from vicinal.errors import RunError


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    root = drawn_set(tmp_path_factory.mktemp("photos") / "drawn")
    tree = json.loads((root / "annotations" / "instances_train.json").read_text())
    found = [photo for photo in photos_of(tree, (3, 7)) if len(photo.boxes)]
    return PhotoSplit(str(root / "train"), found, (3, 7), {}, short=80, long=110, flip=True)


@pytest.fixture(autouse=True)
def plain_masks(monkeypatch):
    """The outline's box: how masks are drawn is tested elsewhere, with COCO's tools."""

    def drawn(outline, size, drawn_size, flip):
        points = outline[0].reshape(-1, 2) * [drawn_size[1] / size[1], drawn_size[0] / size[0]]
        found = np.zeros(drawn_size, np.uint8)
        (left, top), (right, bottom) = (f(points, 0).astype(int) for f in (np.min, np.max))
        found[top:bottom, left:right] = 1
        return np.ascontiguousarray(found[:, ::-1]) if flip else found

    monkeypatch.setattr(photos, "drawn", drawn)


@pytest.mark.parametrize(
    "size", [(480, 640), (640, 480), (300, 900), (901, 299), (600, 1000), (37, 41), (427, 640)]
)
def test_sides_equal_the_literal_rule(size):
    assert resized(size, 600, 1000) == oracle.size(*size, 600, 1000)


def test_a_photo_is_resized_as_pillow_does(split):
    photo = split.photos[0]
    image = Image.open(f"{split.root}/{photo.name}").convert("RGB")
    height, width = oracle.size(*photo.size, 80, 110)
    expected = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    assert np.array_equal(split.read(0, None).pixels, expected)
    assert len(split.read(0, None).boxes) == 0


def test_boxes_lie_around_the_colours_that_they_had(split):
    """Resized and flipped or not, in a run's epochs."""
    flips = set()
    for epoch in range(6):
        for row in range(len(split)):
            sample, plain = split.read(row, (0, epoch)), split.read(row, None)
            flipped = not np.array_equal(sample.pixels, plain.pixels)
            if flipped:
                assert np.array_equal(sample.pixels, plain.pixels[:, ::-1])
            flips.add(flipped)
            red = sample.pixels[..., 0].astype(int) - sample.pixels[..., 2] > 90
            rows, columns = np.nonzero(red)
            box = sample.boxes[list(sample.labels).index(1)]
            visible = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            # The triangle, drawn later, may hide part of it.
            assert (np.array(visible)[:2] >= box[:2] - 2).all()
            assert (np.array(visible)[2:] <= box[2:] + 2.5).all()
    assert flips == {False, True}


def test_a_flip_depends_on_seed_epoch_and_row_alone(split):
    again = PhotoSplit(split.root, split.photos, (3, 7), short=80, long=110, flip=True)
    rows = torch.arange(len(split))
    whole = list(split.batches(rows.split(4), (3, 1)))
    other = list(again.to("cpu", threads=2).batches(rows.flip(0).split(1), (3, 1)))
    for x, y, at in whole:
        for place, row in enumerate(at.tolist()):
            single, of, _ = other[len(split) - 1 - row]
            h, w = y.sizes[place]
            assert torch.equal(x[place, :, :h, :w], single[0, :, :h, :w])
            assert torch.equal(y.boxes.split(y.counts)[place], of.boxes)
    first = split.read(0, None).pixels
    of_epochs = [split.read(0, (3, epoch)).pixels for epoch in range(12)]
    assert {np.array_equal(first, pixels) for pixels in of_epochs} == {False, True}
    never = PhotoSplit(split.root, split.photos, (3, 7), short=80, long=110)
    assert all(
        np.array_equal(never.read(row, (3, 1)).pixels, split.read(row, None).pixels)
        for row in range(3)
    )


def test_a_batch_is_padded_below_and_at_the_right():
    pixels = [np.full((40, 60, 3), 9, np.uint8), np.full((64, 33, 3), 7, np.uint8)]
    boxes = [np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]]), np.array([[9.0, 10, 11, 12]])]
    labels = [np.array([0, 1]), np.array([1])]
    masks = [np.ones((2, 40, 60), np.uint8), np.ones((1, 64, 33), np.uint8)]
    samples = [Sample(*each) for each in zip(pixels, boxes, labels, masks, strict=True)]
    x, y = collated(samples, "cpu")
    assert x.shape == (2, 3, 64, 64)
    assert y.sizes == ((40, 60), (64, 33))
    assert y.counts == (2, 1)
    assert y.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    assert y.labels.tolist() == [0, 1, 1]
    assert x[0].sum() == 9 * 3 * 40 * 60
    assert x[1, :, :, :33].sum() == 7 * 3 * 64 * 33 == x[1].sum()
    assert y.masks.sum((1, 2)).tolist() == [2400, 2400, 64 * 33]
    assert y.masks[2, :, 33:].sum() == 0


def test_what_is_not_as_annotated_is_refused_in_one_line(split, tmp_path):
    with pytest.raises(RunError, match=says("must be a readable image")):
        PhotoSplit(str(tmp_path), split.photos, (3, 7)).read(0, None)
    Image.new("RGB", (5, 4)).save(tmp_path / split.photos[0].name)
    with pytest.raises(RunError, match=says("pixels ... annotation ... 5 x 4")):
        PhotoSplit(str(tmp_path), split.photos, (3, 7)).read(0, None)


def test_photos_that_are_not_wanted_any_more_are_not_read(split):
    batches = split.to("cpu", threads=2).batches(torch.arange(len(split)).split(1), (0, 0))
    next(batches)
    batches.close()
