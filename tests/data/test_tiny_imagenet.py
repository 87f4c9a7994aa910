import hashlib
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from vicinal.data import tiny_imagenet
from vicinal.data.download import RemoteFile
from vicinal.errors import RunError

WNIDS = ["n09", "n01", "n05"]  # the file lists them unsorted


def jpeg(value: int, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (64, 64), value if mode == "L" else (value,) * 3).save(buffer, "JPEG")
    return buffer.getvalue()


def archive(path, damaged: bytes | None = None) -> RemoteFile:
    folder = "tiny-imagenet-200"
    annotations = "".join(f"val_{k}.JPEG\t{WNIDS[k % 3]}\t0\t0\t9\t9\n" for k in range(6))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{folder}/wnids.txt", "\n".join(WNIDS))
        file.writestr("../evil", "evil")
        for number, wnid in enumerate(WNIDS):
            for k in range(2):
                name = f"{folder}/train/{wnid}/images/{wnid}_{k}.JPEG"
                file.writestr(name, jpeg(40 * number + 20 * k, "L" if k else "RGB"))
            file.writestr(f"{folder}/train/{wnid}/{wnid}_boxes.txt", "not an image")
        for k in range(6):
            file.writestr(f"{folder}/val/images/val_{k}.JPEG", damaged or jpeg(100 + k))
        file.writestr(f"{folder}/val/val_annotations.txt", annotations)
        file.writestr(f"{folder}/test/images/test_0.JPEG", jpeg(0))
    data = path.read_bytes()
    return RemoteFile(
        path.name,
        ("http://nowhere.invalid/",),
        f"sha256:{hashlib.sha256(data).hexdigest()}",
        len(data),
    )


def test_classes_are_sorted_and_validation_images_find_theirs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tiny_imagenet, "TINY_IMAGENET", archive(tmp_path / "tiny.zip"))
    train, test = tiny_imagenet.tiny_imagenet(tmp_path)
    assert train.y.tolist() == [0, 0, 1, 1, 2, 2]  # n01, n05, n09
    np.testing.assert_allclose(train.x.float().mean((1, 2, 3)), [40, 60, 80, 100, 0, 20], atol=2)
    assert test.y.tolist() == [2, 0, 1, 2, 0, 1]
    np.testing.assert_allclose(test.x.float().mean((1, 2, 3)), range(100, 106), atol=2)
    assert train.x.shape[1:] == (3, 64, 64)
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.zip", "tiny-imagenet-200.npz"}


def test_it_is_decoded_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tiny_imagenet, "TINY_IMAGENET", archive(tmp_path / "tiny.zip"))
    tiny_imagenet.tiny_imagenet(tmp_path)
    (tmp_path / "tiny.zip").unlink()
    tiny_imagenet.tiny_imagenet(tmp_path)
    assert capsys.readouterr().err.count("decoding") == 1


def test_a_corrupt_image_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tiny_imagenet, "TINY_IMAGENET", archive(tmp_path / "t.zip", jpeg(9)[:300]))
    with pytest.raises(RunError, match=r"val/images/val_\d\.JPEG\b"):
        tiny_imagenet.tiny_imagenet(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["t.zip"]
