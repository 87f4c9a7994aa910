import hashlib
import io
import os
import pickle
import tarfile

import numpy as np
import pytest
import torch
from wording import says

from vicinal.data import cifar
from vicinal.data.download import RemoteFile
from vicinal.errors import RunError

RNG = np.random.default_rng(0)
NAMES = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
PIXELS = {name: RNG.integers(256, size=(4, 3072), dtype=np.uint8) for name in NAMES}


def python2_pickle(x: np.ndarray, labels: list[int], key: str) -> bytes:
    """The bytes of a protocol 2 pickle as Python 2 wrote it: strings are bytes, NumPy 1 names."""
    order = b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R" + order
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    shape = b"".join(b"M" + side.to_bytes(2, "little") for side in x.shape) + b"\x86"
    content = b"T" + x.nbytes.to_bytes(4, "little") + x.tobytes()
    array = empty + b"(K\x01" + shape + dtype + b"\x89" + content + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    name = b"U" + bytes([len(key)]) + key.encode()
    return b"\x80\x02}(" + name + numbers + b"U\x04data" + array + b"u."


def archive(path, members: dict[str, bytes]) -> RemoteFile:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    data = path.read_bytes()
    return RemoteFile(
        path.name,
        ("http://nowhere.invalid/",),
        f"sha256:{hashlib.sha256(data).hexdigest()}",
        len(data),
    )


def batches() -> dict[str, bytes]:
    return {name: python2_pickle(PIXELS[name], [0, 1, 2, 3], "labels") for name in NAMES}


def test_the_archive_is_read_in_the_batches_order(tmp_path, monkeypatch):
    members = {f"cifar-10-batches-py/{name}": data for name, data in reversed(batches().items())}
    members["cifar-10-batches-py/batches.meta"] = b"not read"
    monkeypatch.setattr(cifar, "CIFAR10", archive(tmp_path / "cifar.tar.gz", members))
    train, test = cifar.cifar10(tmp_path)
    expected = np.concatenate([PIXELS[name] for name in NAMES[:5]]).reshape(-1, 3, 32, 32)
    assert torch.equal(train.x, torch.from_numpy(expected))
    assert torch.equal(test.x.flatten(1), torch.from_numpy(PIXELS["test_batch"]))
    assert train.y.tolist() == [0, 1, 2, 3] * 5


def test_cifar100_has_its_fine_labels(tmp_path, monkeypatch):
    members = {
        f"cifar-100-python/{name}": python2_pickle(PIXELS[data], [9, 8, 7, 99], "fine_labels")
        for name, data in (
            ("meta", "data_batch_2"),
            ("test", "test_batch"),
            ("train", "data_batch_1"),
        )
    }
    monkeypatch.setattr(cifar, "CIFAR100", archive(tmp_path / "cifar.tar.gz", members))
    train, test = cifar.cifar100(tmp_path)
    assert torch.equal(train.x.flatten(1), torch.from_numpy(PIXELS["data_batch_1"]))
    assert test.y.tolist() == [9, 8, 7, 99]


def test_what_torchvision_extracted_is_read_if_its_bytes_are_right(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, data in batches().items():
        (folder / name).write_bytes(data)
    with pytest.raises(RunError, match=says("data_batch_1 ... c99cafc152244af753f735de768cd75f")):
        cifar.cifar10(tmp_path)
    sums = {name: hashlib.md5(data).hexdigest() for name, data in batches().items()}
    monkeypatch.setattr(cifar, "CIFAR10_MD5", sums)
    assert len(cifar.cifar10(tmp_path)[0]) == 20
    (folder / "test_batch").unlink()
    with pytest.raises(RunError, match=says("cifar-10-batches-py ... test_batch")):
        cifar.cifar10(tmp_path)


def test_paths_in_the_archive_lead_nowhere(tmp_path, monkeypatch):
    root = tmp_path / "deep" / "root"
    root.mkdir(parents=True)
    names = ("../evil", "/tmp/vicinal-evil", "cifar-10-batches-py/../../evil")
    evil = dict.fromkeys(names, b"evil")
    members = evil | {f"cifar-10-batches-py/{name}": data for name, data in batches().items()}
    monkeypatch.setattr(cifar, "CIFAR10", archive(root / "cifar.tar.gz", members))
    cifar.cifar10(root)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["cifar.tar.gz"]


def test_a_missing_batch_is_named(tmp_path, monkeypatch):
    members = {f"cifar-10-batches-py/{name}": data for name, data in batches().items()}
    del members["cifar-10-batches-py/data_batch_3"]
    monkeypatch.setattr(cifar, "CIFAR10", archive(tmp_path / "cifar.tar.gz", members))
    with pytest.raises(RunError, match=says("cifar.tar.gz ... cifar-10-batches-py/data_batch_3")):
        cifar.cifar10(tmp_path)


class Evil:
    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_executes_nothing(tmp_path, protocol):
    mark = tmp_path / "executed"
    calls = [
        Evil(os.system, f"touch {mark}"),
        Evil(eval, f"open({str(mark)!r}, 'w')"),
        Evil(open, str(mark), "w"),
        Evil(getattr, "text", "upper"),
        Evil(np.save, str(mark), np.zeros(2)),
    ]
    for call in calls:
        name = rf"\w+\.{call.call[0].__name__}\b"
        with pytest.raises(RunError, match=rf"^batch .*pickle.* {name}"):
            cifar.unpickle(pickle.dumps({"data": call}, protocol), "batch")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_pickled_by_this_numpy_are_read(protocol):
    content = {"data": PIXELS["test_batch"], "labels": [1, 2]}
    again = cifar.unpickle(pickle.dumps(content, protocol), "batch")
    np.testing.assert_array_equal(again["data"], content["data"])


def test_damaged_bytes_are_one_error():
    data = batches()["test_batch"]
    for cut in range(0, 200, 7):
        with pytest.raises(RunError, match=says("^batch ... pickle")):
            cifar.unpickle(data[:cut], "batch")
