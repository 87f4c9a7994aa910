import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corrupted_samples import IMAGES, arrays, extract, md5, remote, tar
from jaxtyping import TypeCheckError
from wording import says

from vicinal.data.shifted import cifar_c
from vicinal.data.shifted.cifar_c import CifarC
from vicinal.data.shifted.sets import ShiftedSets
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.images.corruptions.corrupt import COMMON, EXTRA

FILES = arrays(("fog", "saturate"), classes=10)
LABELS = torch.arange(IMAGES).flip(0) % 10
RNG = Rng.seeded(0)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(cifar_c, "IMAGES", IMAGES)
    sums = {name: md5(content) for name, content in FILES.items()}
    monkeypatch.setitem(cifar_c.MD5, "CIFAR-10-C", sums)
    monkeypatch.setitem(cifar_c.ARCHIVES, "CIFAR-10-C", remote("CIFAR-10-C.tar", b""))


@pytest.fixture(params=["archive", "folder"])
def root(request, tmp_path):
    if request.param == "archive":
        tar(tmp_path / "CIFAR-10-C.tar", inside(FILES))
    else:
        extract(tmp_path, inside(FILES))
    return tmp_path


def inside(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"CIFAR-10-C/{name}.npy": content for name, content in files.items()}


def sets(root: Path, *corruptions: str) -> CifarC:
    return CifarC("CIFAR-10-C", str(root), corruptions or ("fog", "saturate"))


def own(y: torch.Tensor = LABELS, side: int = 32) -> Split:
    return Split(torch.zeros(len(y), 3, side, side, dtype=torch.uint8), y)


def load(root: Path, name: str = "fog_1", test: Split | None = None) -> Split:
    return sets(root).load(name, test or own(), RNG)


@pytest.mark.parametrize("name", ["fog", "saturate"])
@pytest.mark.parametrize("severity", [1, 2, 5])
def test_severity_s_is_the_sth_fifth_of_the_array(root, name, severity):
    expected = np.load(io.BytesIO(FILES[name]))[(severity - 1) * IMAGES : severity * IMAGES]
    found = load(root, f"{name}_{severity}")
    np.testing.assert_array_equal(found.x, expected.transpose(0, 3, 1, 2))
    assert torch.equal(found.y, LABELS)
    assert found.x.is_contiguous()


def test_the_names_are_known_before_anything_is_read(tmp_path):
    family = CifarC("CIFAR-100-C", str(tmp_path / "nowhere"))
    assert isinstance(family, ShiftedSets)
    assert family.names[:6] == (*(f"gaussian_noise_{s}" for s in range(1, 6)), "shot_noise_1")
    assert len(family.names) == 75


@pytest.mark.parametrize("corruptions", [("mist",), (), ("fog", "fog")])
def test_corruptions_are_known_different_ones(corruptions):
    with pytest.raises(ValueError, match=says("^corruptions ... gaussian_noise ... saturate")):
        CifarC("CIFAR-10-C", corruptions=corruptions)


def test_every_array_has_its_own_checksum(monkeypatch):
    monkeypatch.undo()
    assert [set(each) for each in cifar_c.MD5.values()] == 2 * [{*COMMON, *EXTRA, "labels"}]
    assert len({md5 for each in cifar_c.MD5.values() for md5 in each.values()}) == 40


def test_there_are_two_sets():
    name: Any = "MNIST-C"
    with pytest.raises((ValueError, TypeCheckError), match=says("MNIST-C")):
        CifarC(name)


@pytest.mark.parametrize("damaged", ["fog", "labels"])
def test_a_damaged_array_is_refused_by_its_checksum(tmp_path, damaged):
    files = FILES | {damaged: FILES[damaged][:-1] + b"!"}
    tar(tmp_path / "CIFAR-10-C.tar", inside(files))
    with pytest.raises(RunError, match=says(f"{damaged}.npy ... {md5(files[damaged])}")):
        load(tmp_path)
    assert len(load(tmp_path, "saturate_1")) == IMAGES if damaged == "fog" else True


def test_an_array_is_verified_once_while_its_file_stays_the_same(root, monkeypatch):
    for severity in range(1, 6):
        load(root, f"fog_{severity}")
    monkeypatch.setitem(cifar_c.MD5["CIFAR-10-C"], "saturate", "0" * 32)
    read = cifar_c._verify.cache_info().misses
    load(root, "fog_2")
    assert cifar_c._verify.cache_info().misses == read
    with pytest.raises(RunError, match="MD5"):
        load(root, "saturate_1")
    file = root / "CIFAR-10-C" / "fog.npy"
    if file.exists():
        file.write_bytes(FILES["fog"][:-1] + b"!")
        with pytest.raises(RunError, match="MD5"):
            load(root, "fog_2")


def test_what_the_archive_or_folder_lacks_is_named(root):
    family = CifarC("CIFAR-10-C", str(root), ("snow",))
    with pytest.raises(RunError, match=says("snow.npy")):
        family.load("snow_1", own(), RNG)


def test_a_file_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "CIFAR-10-C.tar").write_bytes(b"<html>")
    with pytest.raises(RunError, match=says("CIFAR-10-C.tar")):
        load(tmp_path)


def test_a_missing_archive_is_downloaded_once(web, tmp_path, monkeypatch):
    web.files["/c"] = tar(tmp_path / "made", inside(FILES))
    remote_file = remote("CIFAR-10-C.tar", web.files["/c"], f"{web.url}/c")
    monkeypatch.setitem(cifar_c.ARCHIVES, "CIFAR-10-C", remote_file)
    root = tmp_path / "data"
    first = load(root)
    assert torch.equal(load(root).x, first.x)
    assert web.asked == [("/c", None)]
    assert [path.name for path in root.iterdir()] == ["CIFAR-10-C.tar"]


def test_without_network_the_message_says_what_is_missing(tmp_path):
    with pytest.raises(RunError, match=says("CIFAR-10-C.tar")):
        load(tmp_path)


def test_a_test_set_in_another_order_is_measured_with_the_labels_of_the_set(root):
    found = load(root, test=own(LABELS.sort().values))
    assert torch.equal(found.y, LABELS)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (own(torch.arange(IMAGES) % 7), "classes ... 10 ... 7"),
        (own(torch.arange(IMAGES) % 11), "classes ... 10 ... 11"),
        (own(torch.where(torch.arange(IMAGES) == 9, 1, LABELS)), "class 0 ... 2 ... 1"),
        (own(side=64), "3 x 32 x 32 ... 3 x 64 x 64"),
    ],
)
def test_another_test_set_is_refused(root, test, message):
    with pytest.raises(RunError, match=says(f"CIFAR-10-C ... {message}")):
        load(root, test=test)


def test_a_smaller_test_set_must_have_the_same_classes_alone(root):
    assert len(load(root, test=own(LABELS[3:]))) == IMAGES
    with pytest.raises(RunError, match=says("classes ... 10 ... 9")):
        load(root, test=own(torch.arange(9)))
