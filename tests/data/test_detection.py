"""Photos in batches: in the order of seed and epoch, by shape, each once."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from oracles import detection as oracle
from torch import nn
from two_ranks import on_two
from wording import says

from vicinal.contracts import Loss, Method, Objects, Photos
from vicinal.data.batches import Feed
from vicinal.data.dataset import Data, RunData
from vicinal.data.decode.pool import WorkerPool
from vicinal.data.detection import DetectionData, PhotoBatches, groups
from vicinal.data.photos import Photo, PhotoSplit
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.machine import ranks
from vicinal.methods.detection_loss import DetectionLoss
from vicinal.methods.erm import Erm
from vicinal.vicinities.identity import Identity

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
SIZES = ((480, 640), (640, 480), (500, 500), (300, 640), (375, 500), (640, 427))


def split(count: int = 61) -> PhotoSplit:
    box, label = np.array([[1.0, 2, 3, 4]]), np.array([0])
    photos = [
        Photo(i, f"{i}.jpg", SIZES[i % len(SIZES)], box, label, [[box[0]]]) for i in range(count)
    ]
    return PhotoSplit("nowhere", photos, (1, 2, 3))


def data() -> DetectionData:
    return DetectionData(split(), split(9), (0.5,) * 3, (0.2,) * 3, {"train": "a"})


def test_groups_equal_the_literal_bins():
    of = split()
    expected = [oracle.group(*photo.size) for photo in of.photos]
    assert groups(of).tolist() == expected
    assert len(set(expected)) == 4


@pytest.mark.parametrize(("count", "size"), [(61, 4), (64, 4), (61, 7), (5, 16), (16, 16)])
def test_an_epoch_has_every_photo_once_in_batches_of_one_size_but_the_last(count, size):
    feed = PhotoBatches(split(count), size, seed=0)
    for epoch in range(3):
        order = [rows.tolist() for rows in feed.order(epoch)]
        assert sorted(row for rows in order for row in rows) == list(range(count))
        extents = [feed.extent(epoch, number) for number in range(feed.steps(epoch))]
        assert [len(rows) for rows in order] == [extent.rows for extent in extents]
        assert sum(extent.samples for extent in extents) == feed.samples(epoch) == count


def test_most_batches_are_of_one_group():
    of = split(600)
    kinds = groups(of)
    found = Counter(len(kinds[rows].unique()) for rows in PhotoBatches(of, 8, 0).order(0))
    assert found[1] >= 600 / 8 - len(kinds.unique())


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    def order(seed, epoch):
        return [rows.tolist() for rows in PhotoBatches(split(), 4, seed).order(epoch)]

    assert order(0, 1) == order(0, 1)
    assert len({str(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 2)}) == 6
    kinds = groups(split())
    firsts = {int(kinds[order(0, epoch)[0][0]]) for epoch in range(20)}
    assert len(firsts) > 2  # groups do not follow one another


def test_each_rank_has_its_shard_of_the_same_batches(tmp_path):
    def found():
        return [ranks.shard(rows).tolist() for rows in PhotoBatches(split(), 4, 0).order(0)]

    whole, (first, second) = found(), on_two(found, tmp_path)
    for rows, mine, theirs in zip(whole, first, second, strict=True):
        assert mine + theirs == rows or mine == theirs == rows


def test_photos_are_a_runs_data_and_their_batches_a_feed():
    of = data()
    assert isinstance(of, RunData)
    assert isinstance(of.batches(4, 0), Feed)
    assert of.batches(4, 0).unit == "images"
    assert of.batches(4, 0).unlabelled is None
    assert of.batches(4, 0).first(3) == 3 * 16
    assert of.summary()["samples"] == {"train": 61, "test": 9}
    assert of.shape == (3, 600, 1000)
    assert of.zeros("cpu").shape[:2] == (1, 3)
    assert of.to("cpu", WorkerPool(3)).train.threads == 3
    assert of.to("cpu").train.threads == 0


def test_a_trial_meets_the_last_class():
    x, y, rows = PhotoBatches(split(), 4, 0).trial(2, Rng.seeded(0))
    assert len(x) == len(rows) == len(y.counts) == 2
    assert set(y.labels.tolist()) == {2}
    assert y.masks.shape[1:] == x.shape[2:]


@dataclass(frozen=True)
class OnPhotos(Method):
    def __call__(self, model: nn.Module, x: Photos, y: Objects, rng: Rng) -> Iterator[Loss]:
        yield from ()


def test_methods_and_networks_of_another_kind_are_refused_in_one_line():
    data().check_method("method", OnPhotos())
    with pytest.raises(RunError, match=says("^method must ... objects ... Erm")):
        data().check_method("method", Erm(Identity()))
    with pytest.raises(RunError, match=says("^model must be a detector ... Linear")):
        data().check_network(nn.Linear(2, 2))
    images = Split(torch.rand(3, 3, 4, 4), torch.arange(3))
    classified = Data(images, images, None, 3, (0.0,) * 3, (1.0,) * 3, {}, None)
    with pytest.raises(RunError, match=says("^method must ... DetectionLoss, for objects")):
        classified.check_method("method", DetectionLoss())
    classified.check_method("method", Erm(replace(Identity())))
