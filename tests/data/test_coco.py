"""COCO's annotations are read as its own code reads them."""

import hashlib
import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from detection_samples import drawn_set
from wording import says

from vicinal.cli.configs import build, compose
from vicinal.data import coco, download
from vicinal.data.coco import Coco, photos_of, published
from vicinal.data.dataset import Dataset, RunData
from vicinal.errors import RunError


def tree(*annotations: dict) -> dict:
    image = {"id": 4, "file_name": "a.jpg", "height": 50, "width": 80}
    other = {"id": 2, "file_name": "b.jpg", "height": 60, "width": 30}
    filled = [
        {"image_id": 4, "category_id": 9, "iscrowd": 0, "segmentation": [[1, 2, 3, 4, 5, 6]]} | each
        for each in annotations
    ]
    return {"images": [image, other], "annotations": filled, "categories": [{"id": 9}, {"id": 1}]}


def dataset(root: Path, **more) -> Coco:
    settings = {"train": "train", "test": "val", "mean": (0.5,) * 3, "std": (0.2,) * 3}
    return Coco(source=coco.own_photos, root=str(root), **(settings | more))


def test_annotations_become_corners_and_labels():
    first, second = photos_of(tree({"bbox": [10, 20, 30, 15]}), (1, 9))
    assert [first.name, second.name] == ["b.jpg", "a.jpg"]  # in the order of ids
    assert len(first.boxes) == 0
    assert first.boxes.shape == (0, 4)
    assert second.boxes.tolist() == [[10, 20, 40, 35]]
    assert second.labels.tolist() == [1]  # 9 is the second of the categories
    assert second.outlines[0][0].tolist() == [1, 2, 3, 4, 5, 6]
    assert second.aspect == 80 / 50


def test_crowds_and_slivers_are_left_out_and_boxes_end_at_the_edge():
    crowd = {"bbox": [0, 0, 80, 20], "iscrowd": 1, "segmentation": {"counts": [1], "size": [5, 5]}}
    outside, sliver = {"bbox": [70, -5, 40, 30]}, {"bbox": [5, 5, 0.5, 20]}
    gone = {"bbox": [80, 10, 5, 5]}
    _, photo = photos_of(tree(crowd, outside, sliver, gone), (1, 9))
    assert photo.boxes.tolist() == [[70, 0, 80, 25]]


def test_photos_without_objects_are_tested_and_not_trained_on(tmp_path):
    pytest.importorskip("pycocotools")
    data = dataset(drawn_set(tmp_path / "drawn", train=7, test=3)).load()
    assert isinstance(data, RunData)
    assert (len(data.train), len(data.test)) == (6, 3)
    assert data.train.categories == (3, 7)
    assert data.num_classes == 2
    assert data.test.truth["annotations"]
    assert all(len(photo.boxes) == 2 for photo in data.train.photos)  # the crowd is not one
    assert data.measured() == {"test": data.test}
    assert (data.train.flip, data.test.flip) == (True, False)


def test_numbers_that_are_not_the_originals_are_said_and_recorded(tmp_path, capsys):
    pytest.importorskip("pycocotools")
    root = drawn_set(tmp_path / "drawn", train=7, test=3)
    known = {"classes": 2, "train": 7, "test": 3}
    assert dataset(root, known_size=known).load().canonical is None
    assert dataset(root, known_size=known | {"train": 6}).load().canonical is False
    assert "not the original" in capsys.readouterr().err
    assert dataset(root).load().canonical is None


def test_the_fingerprint_is_of_the_annotations(tmp_path):
    pytest.importorskip("pycocotools")
    root = drawn_set(tmp_path / "drawn", train=7, test=3)
    before = dataset(root).load().fingerprint
    assert dataset(root, short=30).load().fingerprint == before
    path = root / "annotations" / "instances_train.json"
    path.write_text(path.read_text() + " ")
    after = dataset(root).load().fingerprint
    assert after["test"] == before["test"]
    assert after["train"] != before["train"]


def test_files_that_are_no_annotations_are_refused_in_one_line(tmp_path):
    pytest.importorskip("pycocotools")
    with pytest.raises(RunError, match=says("instances_train.json must be")):
        dataset(tmp_path).load()
    root = drawn_set(tmp_path / "drawn", train=3, test=2)
    path = root / "annotations" / "instances_val.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"categories": [{"id": 1}]}))
    with pytest.raises(RunError, match=says("same categories ... train ... val")):
        dataset(root).load()
    path.write_text(json.dumps(found | {"annotations": []}))
    with pytest.raises(RunError, match=says("val must have annotated objects")):
        dataset(root).load()
    path.write_text("[]")
    with pytest.raises(RunError, match=says("must hold images, annotations")):
        dataset(root).load()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"short": 0}, "^short ... 1 .. long"), ({"short": 9, "long": 8}, "^short ... 8, got 9")],
)
def test_sides_that_make_no_size_are_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=says(message)):
        dataset(tmp_path, **settings)
    with pytest.raises(ValueError, match=says("^mean must have 3 values")):
        dataset(tmp_path, mean=(0.5,))


def test_archives_are_unpacked_once_and_complete(web, tmp_path, monkeypatch):
    """What an interrupted attempt left is unpacked again."""
    files = []
    for name in coco.FOLDERS:
        archive = tmp_path / f"{name}.zip"
        with ZipFile(archive, "w") as file:
            file.writestr(f"{name}/a.txt", name)
        content = archive.read_bytes()
        web.files[f"/{name}"] = content
        checksum = f"md5:{hashlib.md5(content).hexdigest()}"
        url = f"{web.url}/{name}"
        files.append(download.RemoteFile(f"coco/{name}.zip", (url,), checksum, len(content)))
    monkeypatch.setattr(coco, "COCO", tuple(files))
    root = tmp_path / "data"
    (root / "coco" / "train2017.part" / "train2017").mkdir(parents=True)
    (root / "coco" / "train2017.part" / "train2017" / "old.txt").touch()
    found = published(root)
    assert found == root / "coco"
    assert sorted(path.name for path in found.iterdir() if path.is_dir()) == sorted(coco.FOLDERS)
    assert [path.name for path in (found / "train2017").iterdir()] == ["a.txt"]
    web.files.clear()
    assert published(root) == found  # nothing is fetched again
    assert published(found) == found  # the folder itself


@pytest.mark.parametrize("name", ["coco", "detection"])
def test_a_dataset_brings_all_that_a_detector_needs(name):
    run = build(compose(f"dataset={name}", "dataset.root=pets"))
    assert isinstance(run.dataset, Dataset)
    assert run.dataset.name == {"coco": "coco", "detection": "pets"}[name]
    kinds = (run.method, run.clean, run.optimizer, run.schedule.curve)
    assert [type(each).__name__ for each in kinds] == [
        *("DetectionLoss", "AveragePrecision", "Sgd", "Step")
    ]
    assert (run.optimizer.lr, run.schedule.epochs, run.schedule.batch_size) == (0.02, 12, 16)
    rates = [run.schedule.rate(step, 7330) for step in (0, 250, 500, 8 * 7330 - 1, 8 * 7330)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 1, 0.1])
    assert run.schedule.rate(11 * 7330, 7330) == pytest.approx(0.01)


def test_outlines_keep_every_digit():
    _, photo = photos_of(
        tree({"bbox": [1, 1, 9, 9], "segmentation": [[0.1, 0.2, 0.3, 1e-9, 5, 6]]}), (1, 9)
    )
    assert photo.outlines[0][0].dtype == np.float64
    assert photo.outlines[0][0][3] == 1e-9
