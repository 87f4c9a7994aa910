import hashlib
import io
import tarfile

import numpy as np
import pytest

from vicinal.data import stl10
from vicinal.data.download import RemoteFile
from vicinal.errors import RunError

RNG = np.random.default_rng(0)
X = {
    part: RNG.integers(256, size=(n, 3, 96, 96), dtype=np.uint8)
    for part, n in (("train", 3), ("test", 2))
}


@pytest.fixture
def members(monkeypatch):
    files = {"unlabeled_X.bin": b"large", "../evil": b"evil"}
    for part, x in X.items():
        files[f"{part}_X.bin"] = x.transpose(0, 1, 3, 2).tobytes()  # column by column
        files[f"{part}_y.bin"] = bytes(range(1, len(x) + 1))
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
        path.name, ("http://nowhere.invalid/",), hashlib.sha256(data).hexdigest(), len(data)
    )


def test_images_are_transposed_and_classes_start_at_zero(tmp_path, monkeypatch, members):
    monkeypatch.setattr(stl10, "STL10", archive(tmp_path / "stl.tar.gz", members))
    train, test = stl10.stl10(tmp_path)
    np.testing.assert_array_equal(train.x.numpy(), X["train"])
    np.testing.assert_array_equal(test.x.numpy(), X["test"])
    assert train.y.tolist() == [0, 1, 2]


def test_only_the_four_files_leave_the_archive_and_then_serve_alone(tmp_path, monkeypatch, members):
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setattr(stl10, "STL10", archive(root / "stl.tar.gz", members))
    stl10.stl10(root)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert {path.name for path in (root / "stl10_binary").iterdir()} == set(stl10.MD5)
    (root / "stl.tar.gz").unlink()
    assert len(stl10.stl10(root)[0]) == 3


def test_a_damaged_copy_is_named(tmp_path, monkeypatch, members):
    monkeypatch.setattr(stl10, "STL10", archive(tmp_path / "stl.tar.gz", members))
    stl10.stl10(tmp_path)
    (tmp_path / "stl10_binary" / "test_X.bin").write_bytes(b"short")
    with pytest.raises(RunError, match=r"test_X\.bin must have the MD5"):
        stl10.stl10(tmp_path)
