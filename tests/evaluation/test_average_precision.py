"""Average precision is of every photo once, at its own size, by COCO's measure."""

from pathlib import Path

import pytest
import torch
from detection_samples import CATEGORIES, drawn_set
from torch import nn
from two_ranks import on_two
from wording import says

from vicinal.contracts import Found, Objects, Photos
from vicinal.data.coco import Coco, own_photos
from vicinal.data.photos import PhotoSplit
from vicinal.evaluation.average_precision import AveragePrecision
from vicinal.evaluation.evaluation import Measure

pytest.importorskip("pycocotools")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def split(tmp_path_factory) -> PhotoSplit:
    root = drawn_set(tmp_path_factory.mktemp("drawn") / "set", train=3, test=7)
    settings = {"train": "train", "test": "val", "mean": (0.5,) * 3, "std": (0.2,) * 3}
    return Coco(source=own_photos, root=str(root), short=100, long=130, **settings).load().test


class Knowing(nn.Module):
    """Finds the annotated boxes, with the masks of rectangles, `share` as wide as they are."""

    def __init__(self, split: PhotoSplit, share: float = 1.0) -> None:
        super().__init__()
        self.split, self.share, self.asked = split, share, list[int]()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Photos, y: Objects) -> list[Found]:
        return [self._found(size) for size in y.sizes]

    def _found(self, size: tuple[int, int]) -> Found:
        photo = self.split.photos[len(self.asked)]
        self.asked.append(photo.id)
        boxes = torch.from_numpy(photo.boxes).float()
        boxes = boxes * torch.tensor([size[1] / photo.size[1], size[0] / photo.size[0]]).repeat(2)
        boxes[:, 2] = boxes[:, 0] + self.share * (boxes[:, 2] - boxes[:, 0])
        labels = torch.from_numpy(photo.labels)
        masks = torch.zeros(len(boxes), 1, 28, 28)
        for mask, label in zip(masks, labels.tolist(), strict=True):
            full = self.split.categories[label] == CATEGORIES[0]
            mask[0] = torch.ones(28, 28) if full else torch.tril(torch.ones(28, 28))
        return Found(boxes, labels, torch.full((len(boxes),), 0.9), masks)


def test_who_finds_everything_has_a_precision_of_100(split) -> None:
    model, measure = Knowing(split).train(), AveragePrecision()
    assert isinstance(measure, Measure)
    found = measure(model, split)
    assert found["average_precision"] == pytest.approx(100)
    assert found["mask_average_precision"] > 85  # masks of 28 x 28 points are coarse
    assert model.asked == [photo.id for photo in split.photos]
    assert model.training


def test_boxes_count_at_the_thresholds_that_they_pass(split) -> None:
    """An IoU of 0.77 passes 0.5, 0.55, 0.6, 0.65, 0.7 and 0.75."""
    found = AveragePrecision(batch_size=3)(Knowing(split, 0.77), split)
    assert found["average_precision"] == pytest.approx(60)
    assert found["mask_average_precision"] < found["average_precision"] + 10


def test_two_ranks_measure_what_one_does(split, tmp_path: Path) -> None:
    class Rows(Knowing):
        """Each rank is asked for some photos: it knows them by their pixels."""

        def forward(self, x: Photos, y: Objects) -> list[Found]:
            for number, (own, *_) in enumerate(split.batches(torch.arange(len(split)).split(1))):
                if own.shape == x.shape and torch.equal(own, x):
                    self.asked = [0] * number
            return super().forward(x, y)

    def measured() -> dict[str, float]:
        return AveragePrecision()(Rows(split, 0.77), split)

    assert on_two(measured, tmp_path) == [measured()] * 2


def test_who_finds_nothing_has_none(split) -> None:
    class Blind(Knowing):
        def _found(self, size: tuple[int, int]) -> Found:
            empty = torch.zeros(0, 4)
            none = torch.zeros(0, dtype=torch.int64)
            return Found(empty, none, torch.zeros(0), torch.zeros(0, 1, 28, 28))

    found = AveragePrecision()(Blind(split), split)
    assert found == {"average_precision": 0, "mask_average_precision": 0}


def test_a_batch_has_a_photo() -> None:
    with pytest.raises(ValueError, match=says("^batch_size must be at least 1")):
        AveragePrecision(batch_size=0)
