import hashlib

import numpy as np
import pytest
import torch
from scipy.io import savemat
from wording import says

from vicinal.data import svhn
from vicinal.data.download import RemoteFile
from vicinal.errors import RunError

X = np.random.default_rng(0).integers(256, size=(32, 32, 3, 5), dtype=np.uint8)


def saved(path, x, y) -> RemoteFile:
    savemat(path, {"X": x, "y": y})
    data = path.read_bytes()
    return RemoteFile(
        path.name,
        ("http://nowhere.invalid/",),
        f"sha256:{hashlib.sha256(data).hexdigest()}",
        len(data),
    )


def test_images_stand_upright_and_a_zero_is_class_zero(tmp_path, monkeypatch):
    y = np.array([[10], [1], [9], [10], [5]], dtype=np.uint8)
    monkeypatch.setattr(svhn, "TRAIN", saved(tmp_path / "train.mat", X, y))
    monkeypatch.setattr(svhn, "TEST", saved(tmp_path / "test.mat", X[..., :1], y[:1]))
    train, test = svhn.svhn(tmp_path)
    assert train.x.shape == (5, 3, 32, 32)
    assert train.x[3, 2, 7, 11] == X[7, 11, 2, 3]
    assert torch.equal(test.x[0], train.x[0])
    assert train.y.tolist() == [0, 1, 9, 0, 5]


def test_another_shape_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(svhn, "TRAIN", saved(tmp_path / "train.mat", X[:16], np.ones((5, 1))))
    with pytest.raises(RunError, match=says("train.mat ... 32 x 32 x 3 x n ... (16, 32, 3, 5)")):
        svhn.svhn(tmp_path)
