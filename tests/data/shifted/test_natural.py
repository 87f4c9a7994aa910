from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from wording import says

from vicinal.data.decode.crops import Crop
from vicinal.data.decode.pool import WorkerPool
from vicinal.data.shifted.natural import Natural
from vicinal.data.shifted.sets import ShiftedSets
from vicinal.data.split import Split
from vicinal.data.stream import StreamedSplit
from vicinal.draws import Rng
from vicinal.errors import RunError

WNIDS = tuple(f"n{number:08}" for number in range(12))


@pytest.fixture
def test_split() -> StreamedSplit:
    names = np.array([f"{wnid}/0.JPEG".encode() for wnid in WNIDS])
    return StreamedSplit("val", names, torch.arange(12), Crop(32, 40), decoder=WorkerPool(1))


def folder(root: Path, *classes: str) -> None:
    """Two pictures per class; the grey of each says which."""
    for number, name in enumerate(classes):
        place = root / "set" / name
        place.mkdir(parents=True)
        for k in range(2):
            Image.new("L", (40, 50), 20 * number + k).save(place / f"{k}.png")


def found(root: Path, test: StreamedSplit) -> tuple[list[int], tuple[int, ...] | None]:
    """Labels, checked to belong to the right pictures, and the subset of classes."""
    family = Natural(str(root), ("set",))
    part = family.load("set", test, Rng.seeded(0))
    return part.y.tolist(), family.classes("set", test)


def test_some_of_the_classes_have_the_labels_of_the_run(tmp_path, test_split):
    folder(tmp_path, WNIDS[7], WNIDS[2])
    assert found(tmp_path, test_split) == ([2, 2, 7, 7], (2, 7))


def test_pictures_keep_their_label_and_are_cropped_as_the_test_set(tmp_path, test_split):
    folder(tmp_path, WNIDS[7], WNIDS[2])  # 7 is black
    part = Natural(str(tmp_path), ("set",)).load("set", test_split, Rng.seeded(0))
    assert (part.crop, part.decoder) == (test_split.crop, test_split.decoder)
    ((x, y, _),) = part.batches([torch.arange(4)])
    assert x[:, 0, 0, 0].tolist() == [20, 21, 0, 1]
    assert y.tolist() == [2, 2, 7, 7]


def test_numbers_are_labels(tmp_path, test_split):
    folder(tmp_path, *map(str, range(12)))
    labels, subset = found(tmp_path, test_split)
    assert labels == [0, 0, 1, 1, 10, 10, 11, 11, *(n for n in range(2, 10) for _ in range(2))]
    assert subset is None


def test_numbers_that_the_run_uses_too_are_its_names(tmp_path, test_split):
    names = np.array([b"0/a.JPEG", b"1/a.JPEG", b"10/a.JPEG", b"2/a.JPEG"])
    own = replace(test_split, names=names, y=torch.arange(4))
    folder(tmp_path, "10", "2")
    assert found(tmp_path, own) == ([2, 2, 3, 3], (2, 3))


def test_without_data_of_the_run_the_classes_are_imagenets(tmp_path, test_split):
    folder(tmp_path, "n01443537", "n15075141")  # the goldfish and the last of the 1000
    assert found(tmp_path, test_split[torch.arange(0)]) == ([1, 1, 999, 999], (1, 999))


@pytest.mark.parametrize("names", [("n00000001", "n09999999"), ("0", "12"), ("1", "cat")])
def test_classes_that_the_network_does_not_know_are_named(tmp_path, test_split, names):
    folder(tmp_path, *names)
    with pytest.raises(RunError, match=says(f"set ... {names[1]}")):
        found(tmp_path, test_split)


def test_a_missing_folder_and_a_test_set_in_memory_are_refused(tmp_path, test_split):
    with pytest.raises(RunError, match=says("set ... no such folder")):
        found(tmp_path, test_split)
    folder(tmp_path, WNIDS[0])
    own = Split(torch.zeros(12, 3, 32, 32, dtype=torch.uint8), torch.arange(12))
    with pytest.raises(RunError, match=says("dataset=imagenet ... Split")):
        Natural(str(tmp_path), ("set",)).load("set", own, Rng.seeded(0))


def test_the_names_are_those_of_the_folders():
    assert isinstance(Natural(), ShiftedSets)
    assert Natural(folders=["imagenet-a", "mine"]).names == ("imagenet-a", "mine")
    for wrong in ((), ("a", "a")):
        with pytest.raises(ValueError, match=says("^folders")):
            Natural(folders=wrong)
