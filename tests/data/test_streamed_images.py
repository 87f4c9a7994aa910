"""What is listed, how it is cut to a protocol, and what a folder is refused for."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import photos
import pytest
import torch
from wording import says

from vicinal.data.dataset import Data
from vicinal.data.stream import StreamedSplit
from vicinal.data.streamed_images import StreamedImages
from vicinal.errors import RunError
from vicinal.vicinities.color_jitter import ColorJitter
from vicinal.vicinities.compose import Compose
from vicinal.vicinities.crop_flip import CropFlip
from vicinal.vicinities.identity import Identity

MOMENTS: dict[str, Any] = {"mean": [0.5] * 3, "std": [0.2] * 3}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Empty files: nothing is decoded here."""
    for part, count in (("train", 6), ("val", 2)):
        for label in ("cat", "dog", "eel"):
            (tmp_path / "set" / part / label).mkdir(parents=True)
            for number in range(count):
                (tmp_path / "set" / part / label / f"{number}.JPEG").write_bytes(b"x" * number)
    return tmp_path / "set"


def load(root: Path, **settings: Any) -> Data:
    return StreamedImages(root=str(root), size=16, resize=20, **MOMENTS, **settings).load()


def names(split: object) -> list[str]:
    assert isinstance(split, StreamedSplit)
    return [name.decode() for name in split.names.tolist()]


def test_classes_and_files_come_in_sorted_order(root: Path) -> None:
    (root / "train" / "cat" / "deep").mkdir()
    (root / "train" / "cat" / "deep" / "UPPER.png").touch()
    (root / "train" / "cat" / "notes.txt").touch()
    (root / "train" / "cat" / ".hidden.jpg").touch()
    data = load(root)
    cats = [*(f"cat/{number}.JPEG" for number in range(6)), "cat/deep/UPPER.png"]
    assert names(data.train)[:7] == cats
    assert data.train.y.tolist() == [0] * 7 + [1] * 6 + [2] * 6
    assert data.test.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.summary()["shape"] == [3, 16, 16]


def copy_of_train(root: Path, name: str) -> None:
    for label in ("cat", "dog", "eel"):
        (root / name / label).mkdir(parents=True)
        (root / name / label / "copy.JPEG").write_bytes(b"y")


def test_images_of_further_folders_are_trained_on_too(root: Path) -> None:
    copy_of_train(root, "EDSR")
    data = load(root, also=["EDSR"])
    assert names(data.train)[18:] == [
        f"../EDSR/{label}/copy.JPEG" for label in ("cat", "dog", "eel")
    ]
    assert data.train.y.tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [0, 1, 2]
    assert data.fingerprint.keys() == {"train", "EDSR", "test"}
    assert data.fingerprint["train"] == load(root).fingerprint["train"]
    assert isinstance(data.train, StreamedSplit)
    assert data.train.classes == ("cat", "dog", "eel")
    for row in (0, 18):
        assert Path(data.train.root, names(data.train)[row]).is_file()


def test_further_folders_must_be_there_and_have_the_classes(root: Path) -> None:
    with pytest.raises(RunError, match=says("dataset.also must be folders ... CAE")):
        load(root, also=["CAE"])
    copy_of_train(root, "CAE")
    (root / "CAE" / "fox").mkdir()
    with pytest.raises(RunError, match=says("CAE must have the classes of")):
        load(root, also=["CAE"])


def test_the_fingerprint_is_of_names_and_sizes(root: Path) -> None:
    before = load(root).fingerprint
    (root / "train" / "dog" / "3.JPEG").write_bytes(b"abc")
    assert load(root).fingerprint == before
    (root / "train" / "dog" / "3.JPEG").write_bytes(b"abcd")
    longer = load(root).fingerprint
    assert longer["train"] != before["train"]
    assert longer["test"] == before["test"]
    (root / "train" / "dog" / "3.JPEG").rename(root / "train" / "eel" / "3.jpeg")
    assert load(root).fingerprint["train"] not in (before["train"], longer["train"])


def test_the_protocol_cuts_as_it_does_in_memory(root: Path) -> None:
    data = load(root, holdout_per_class=2, train_per_class=3)
    assert data.valid is not None
    assert data.train.y.bincount().tolist() == [3, 3, 3]
    assert data.valid.y.bincount().tolist() == [2, 2, 2]
    assert not set(names(data.train)) & set(names(data.valid))
    other = load(root, holdout_per_class=2, train_per_class=3, split_seed=1)
    assert names(other.train) != names(data.train)


def test_colours_come_after_the_flip_where_they_are_wanted() -> None:
    given: dict[str, Any] = {"root": "some", **MOMENTS}
    assert StreamedImages(**given).augment == CropFlip(padding=0)
    assert StreamedImages(**given, flip=False).augment == Identity()
    expected = Compose(CropFlip(padding=0), ColorJitter(0.4, 0.1))
    assert StreamedImages(**given, jitter=0.4, lighting=0.1).augment == expected


def test_label_noise_is_measured_by_kind(root: Path) -> None:
    clean, noisy = load(root), load(root, label_noise=0.5)
    assert names(noisy.train) == names(clean.train)
    assert (noisy.train.y != clean.train.y).any()
    assert torch.equal(noisy.test.y, clean.test.y)
    parts = noisy.measured()
    assert len(parts["kept"]) + len(parts["redrawn"]) == len(clean.train)


def test_other_counts_are_not_the_original_and_said_so(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original = {"classes": 3, "train": 18, "test": 6}
    assert load(root, known_size=original).canonical is None
    assert load(root).canonical is None
    assert capsys.readouterr().err == ""
    (root / "train" / "cat" / "0.JPEG").unlink()
    assert load(root, known_size=original).canonical is False
    assert re.search(says("17 ... 18 ... train ... records"), capsys.readouterr().err)


def test_a_flat_test_folder_is_told_what_it_lacks(root: Path) -> None:
    for path in sorted((root / "val").glob("*/*")):
        path.rename(root / "val" / f"{path.parent.name}{path.name}")
    for label in ("cat", "dog", "eel"):
        (root / "val" / label).rmdir()
    with pytest.raises(RunError, match=says("val ... 6 images")):
        load(root)


def test_missing_folders_are_named(root: Path) -> None:
    (root / "val").rename(root / "test")
    with pytest.raises(RunError, match=says("^dataset.root ... train and val ... test, train")):
        load(root, test="val")


def test_classes_that_one_part_lacks_are_named(root: Path) -> None:
    (root / "val" / "fox").mkdir()
    with pytest.raises(RunError, match=says("train ... val ... fox")):
        load(root)
    (root / "train" / "fox").mkdir()
    with pytest.raises(RunError, match=says("train/fox ... images")):
        load(root)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"resize": 10}, "resize ... size ... 16 ... 10"),
        ({"mean": [0.5], "std": [0.2]}, "mean ... 3 ... [0.5]"),
        ({"std": [0.2, 0.2]}, "std ... mean ... [0.2, 0.2]"),
        ({"lighting": -0.1}, "lighting ... 0 ... -0.1"),
        ({"scale": [0.5]}, "scale ... two ... [0.5]"),
        ({"label_noise": 2.0}, "label_noise ... 0 ... 1 ... 2.0"),
        ({"train_per_class": 0}, "train_per_class ... 1 ... 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(settings: dict, rule: str) -> None:
    with pytest.raises(ValueError, match=says(rule)):
        StreamedImages(**({"root": "nowhere", "size": 16, "resize": 20} | MOMENTS | settings))


def test_a_real_folder_of_photographs_has_the_shapes_it_says(tmp_path: Path) -> None:
    data = load(photos.folder(tmp_path / "set", train=2, val=1, classes=2))
    ((x, y, _),) = data.test.batches([torch.arange(2)])
    assert x.shape == (2, 3, 16, 16)
    assert x.dtype == torch.uint8
    assert y.tolist() == [0, 1]
    assert len(np.unique(x.numpy())) > 50
