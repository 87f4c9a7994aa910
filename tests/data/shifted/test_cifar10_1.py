import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from corrupted_samples import npy
from wording import says

from vicinal.data.download import RemoteFile
from vicinal.data.shifted import cifar10_1
from vicinal.data.shifted.cifar10_1 import FILES, Cifar10Point1
from vicinal.data.shifted.sets import ShiftedSets
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.errors import RunError

X = np.random.default_rng(0).integers(256, size=(30, 32, 32, 3), dtype=np.uint8)
Y = np.random.default_rng(1).permutation(np.arange(30, dtype=np.int32) % 10)
OWN = Split(torch.zeros(40, 3, 32, 32, dtype=torch.uint8), torch.arange(40) % 10)


@pytest.fixture
def root(web, tmp_path, monkeypatch):
    files = []
    for name, array in (("x.npy", X), ("y.npy", Y)):
        web.files[f"/{name}"] = content = npy(array)
        checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
        files.append(RemoteFile(name, (f"{web.url}/{name}",), checksum, len(content)))
    monkeypatch.setitem(cifar10_1.FILES, "v4", tuple(files))
    return tmp_path


def test_images_and_labels_are_downloaded_once(root, web):
    for _ in range(2):
        found = Cifar10Point1(str(root)).load("v4", OWN, Rng.seeded(0))
        np.testing.assert_array_equal(found.x, X.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(found.y, Y)
    assert web.asked == [("/x.npy", None), ("/y.npy", None)]


def test_it_is_for_networks_of_ten_classes(root):
    with pytest.raises(RunError, match=says("CIFAR-10.1 v4 ... 10 ... 12")):
        Cifar10Point1(str(root)).load("v4", Split(OWN.x, torch.arange(40) % 12), Rng.seeded(0))


def test_there_are_two_versions():
    assert isinstance(Cifar10Point1(), ShiftedSets)
    assert Cifar10Point1().names == ("v4", "v6")
    assert Cifar10Point1(versions=["v6"]).names == ("v6",)
    versions: Any
    for versions in ((), ("v5",)):
        with pytest.raises(Exception, match=says("v4 ... v6")):
            Cifar10Point1(versions=versions)


def test_the_files_are_as_large_as_their_arrays_and_a_header():
    sizes = [file.size - 128 for version in ("v4", "v6") for file in FILES[version]]
    assert sizes == [2021 * 3072, 2021 * 4, 2000 * 3072, 2000 * 4]
