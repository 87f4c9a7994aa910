"""STL-10 from files in its own formats, as few images as there need be."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
from wording import says

from vicinal.data import stl10
from vicinal.data.download import RemoteFile
from vicinal.data.images import Images
from vicinal.data.stl10 import FOLDS, LABELLED, UNLABELLED, Stl10
from vicinal.errors import RunError

RNG = np.random.default_rng(0)
X = {
    part: RNG.integers(256, size=(n, 3, 96, 96), dtype=np.uint8)
    for part, n in (("train", 20), ("test", 2), ("unlabeled", 7))
}
FOLD_ROWS = [RNG.permutation(20)[:5].tolist() for _ in range(10)]


@pytest.fixture
def members(monkeypatch):
    files = {"../evil": b"evil", "class_names.txt": b"airplane"}
    for part, x in X.items():
        files[f"{part}_X.bin"] = x.transpose(0, 1, 3, 2).tobytes()  # column by column
        files[f"{part}_y.bin"] = bytes(i % 10 + 1 for i in range(len(x)))
    # A blank follows every number, as in the true file.
    lines = ["".join(f"{row} " for row in rows) for rows in FOLD_ROWS]
    files[FOLDS] = "".join(f"{line}\n" for line in lines).encode()
    sums = {name: hashlib.md5(files[name]).hexdigest() for name in stl10.MD5}
    monkeypatch.setattr(stl10, "MD5", sums)
    return files


def archive(path, members: dict[str, bytes]) -> RemoteFile:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"stl10_binary/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    data = path.read_bytes()
    return RemoteFile(
        path.name,
        ("http://nowhere.invalid/",),
        f"sha256:{hashlib.sha256(data).hexdigest()}",
        len(data),
    )


@pytest.fixture
def root(tmp_path, monkeypatch, members):
    (tmp_path / "root").mkdir()
    monkeypatch.setattr(stl10, "STL10", archive(tmp_path / "root" / "stl.tar.gz", members))
    return tmp_path / "root"


def test_images_are_transposed_and_classes_start_at_zero(root):
    train, test = Stl10()(root)
    np.testing.assert_array_equal(train.x.numpy(), X["train"])
    np.testing.assert_array_equal(test.x.numpy(), X["test"])
    assert train.y.tolist() == [i % 10 for i in range(20)]


def test_many_images_are_turned_where_they_lie(tmp_path):
    images = RNG.integers(256, size=(1003, 3, 96, 96), dtype=np.uint8)
    images.transpose(0, 1, 3, 2).tofile(tmp_path / "x.bin")
    turned = stl10._pixels(tmp_path / "x.bin")
    assert turned.is_contiguous()
    np.testing.assert_array_equal(turned.numpy(), images)


@pytest.mark.parametrize("fold", [0, 4, 9])
def test_a_fold_is_its_line_of_the_file(root, fold):
    train, test = Stl10(fold)(root)
    np.testing.assert_array_equal(train.x.numpy(), X["train"][FOLD_ROWS[fold]])
    assert train.y.tolist() == [row % 10 for row in FOLD_ROWS[fold]]
    assert len(test) == 2


@pytest.mark.parametrize("fold", [-1, 10])
def test_there_are_ten_folds(fold):
    with pytest.raises(ValueError, match=says(f"^fold ... 0 ... 9 ... {fold}")):
        Stl10(fold)


def test_unlabelled_images_are_its_own_and_without_labels(root):
    found = Stl10().unlabelled(root)
    np.testing.assert_array_equal(found.x.numpy(), X["unlabeled"])
    assert found.y.tolist() == [-1] * 7


def test_a_data_set_has_them_beside_its_training_images(root):
    options = {"name": "stl10", "source": Stl10(), "root": str(root), "unlabelled": True}
    data = Images(**options).load()
    assert data.unlabelled is not None
    np.testing.assert_array_equal(data.unlabelled.x.numpy(), X["unlabeled"])
    assert len(data.train) == 20
    assert data.summary()["samples"] == {"train": 20, "test": 2, "unlabelled": 7}
    cut = Images(**options, train_per_class=1, size=32).load()
    assert cut.unlabelled is not None
    assert cut.unlabelled.x.shape == (7, 3, 32, 32)  # what is left out is not among them
    assert len(cut.train) == 10


def test_a_stand_in_has_none_of_its_own(tmp_path):
    arrays = {"x_train": X["train"], "y_train": np.arange(20) % 10, "x_test": X["test"]}
    np.savez(tmp_path / "copy.npz", **arrays, y_test=np.arange(2))
    options = {"source": Stl10(), "arrays": str(tmp_path / "copy.npz"), "unlabelled": True}
    with pytest.raises(ValueError, match=says("^unlabelled ... train_per_class")):
        Images(**options)
    data = Images(**options, train_per_class=1).load()
    assert data.unlabelled is not None
    assert len(data.unlabelled) == 10


def test_only_what_is_needed_leaves_the_archive_and_then_serves_alone(root):
    Stl10()(root)
    copied = root / "stl10_binary"
    assert [path.name for path in root.parent.iterdir()] == ["root"]
    assert {path.name for path in copied.iterdir()} == set(LABELLED)
    Stl10(fold=3)(root)
    assert {path.name for path in copied.iterdir()} == {*LABELLED, FOLDS}
    Stl10().unlabelled(root)
    assert {path.name for path in copied.iterdir()} == {*LABELLED, FOLDS, UNLABELLED}
    (root / "stl.tar.gz").unlink()
    assert len(Stl10()(root)[0]) == 20
    assert len(Stl10(fold=3)(root)[0]) == 5
    assert len(Stl10().unlabelled(root)) == 7


@pytest.mark.parametrize("name", ["test_X.bin", FOLDS, UNLABELLED])
def test_a_damaged_copy_is_named(root, name):
    source = Stl10(fold=0)
    source(root)
    source.unlabelled(root)
    (root / "stl10_binary" / name).write_bytes(b"short")
    read = source.unlabelled if name == UNLABELLED else source
    with pytest.raises(RunError, match=says(f"{name} ... MD5")):
        read(root)


def test_what_the_archive_lacks_is_named(tmp_path, monkeypatch, members):
    del members[FOLDS]
    monkeypatch.setattr(stl10, "STL10", archive(tmp_path / "stl.tar.gz", members))
    with pytest.raises(RunError, match=says(f"stl.tar.gz ... stl10_binary/{FOLDS}")):
        Stl10(fold=0)(tmp_path)
