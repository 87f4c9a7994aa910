import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from wording import says

from vicinal.data import npz
from vicinal.data.image_folder import image_folder
from vicinal.data.stream import StreamedSplit
from vicinal.data.streamed_images import StreamedImages
from vicinal.errors import RunError

TINY = Path(__file__).parents[3] / "shared" / "data" / "tiny-imagenet-25"


def picture(path: Path, value: int, size=(8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


@pytest.fixture
def root(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        for number, label in enumerate(("cat", "dog")):
            for k in range(count):
                picture(tmp_path / "set" / part / label / f"{k}.png", 100 * number + 10 * k)
    return tmp_path / "set"


def load(root: Path, size: int | None = None, **more):
    return image_folder(root, size, cache=str(root.parent / "packed"), **more)


def values(split) -> list[int]:
    return split.x[:, 0, 0, 0].tolist()


def test_classes_and_files_come_in_sorted_order(root, capsys):
    picture(root / "train" / "cat" / "deep" / "UPPER.JPG", 30)
    (root / "train" / "cat" / "notes.txt").write_text("not an image")
    (root / "train" / ".hidden").mkdir()
    train, test = load(root)
    assert values(train) == [0, 10, 20, 30, 100, 110, 120]
    assert train.y.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert test.y.tolist() == [0, 0, 1, 1]


def test_the_second_time_no_image_is_opened(root, capsys, monkeypatch):
    first, _ = load(root)
    monkeypatch.setattr("vicinal.data.image_folder.decoded", None)
    again, _ = load(root)
    assert values(again) == values(first)
    assert capsys.readouterr().err.count("packing") == 1


@pytest.mark.parametrize("change", ["content", "name", "addition", "removal"])
def test_any_change_packs_anew(root, capsys, change):
    load(root)
    file = root / "train" / "cat" / "0.png"
    if change == "content":
        picture(file, 77)
        os.utime(file, ns=(1, 1))
    elif change == "name":
        file.rename(file.with_name("00.png"))
    elif change == "addition":
        picture(file.with_name("9.png"), 77)
    else:
        file.unlink()
    expected = {"content": [77, 10, 20], "name": [0, 10, 20], "addition": [0, 10, 20, 77]}
    assert values(load(root)[0])[:-3] == expected.get(change, [10, 20])
    assert capsys.readouterr().err.count("packing") == 2
    assert len(list((root.parent / "packed").iterdir())) == 1


def test_a_cut_packed_file_is_packed_anew(root, capsys):
    first, _ = load(root)
    (packed,) = (root.parent / "packed").iterdir()
    packed.write_bytes(packed.read_bytes()[:-50])
    assert values(load(root)[0]) == values(first)


def test_each_size_is_packed_for_itself(root, capsys):
    assert load(root, 4)[0].x.shape == (6, 3, 4, 4)
    assert load(root, 6)[0].x.shape == (6, 3, 6, 6)
    assert load(root, 4)[0].x.shape == (6, 3, 4, 4)
    assert capsys.readouterr().err.count("packing") == 2


def test_the_shorter_side_is_resized_and_the_centre_cropped(tmp_path, capsys):
    stripes = np.repeat(np.arange(24, dtype=np.uint8) * 10, 8)[None].repeat(64, 0)  # 192 x 64
    for part in ("train", "test"):
        folder = tmp_path / "set" / part / "only"
        folder.mkdir(parents=True)
        Image.fromarray(stripes).convert("RGB").save(folder / "wide.png")
        Image.fromarray(stripes.T).convert("RGB").save(folder / "z_tall.png")
    x = load(tmp_path / "set", 8)[0].x[:, 0]
    np.testing.assert_allclose(x[0, 4], np.arange(8, 16) * 10, atol=1)
    assert x[1].equal(x[0].T)


def test_without_a_size_all_must_have_one(root):
    picture(root / "test" / "dog" / "9.png", 0, size=(8, 9))
    with pytest.raises(
        RunError,
        match=says("dataset.size ... 8 x 8 ... test/cat/0.png ... 8 x 9 ... test/dog/9.png"),
    ):
        load(root)


@pytest.mark.parametrize("content", [b"", b"no image", "cut"])
def test_a_corrupt_image_is_named(root, content):
    file = root / "train" / "dog" / "1.png"
    file.write_bytes(file.read_bytes()[:45] if content == "cut" else content)
    with pytest.raises(RunError, match=says("train/dog/1.png")):
        load(root)


def test_sixteen_bits_are_refused_not_clipped(root):
    deep = np.full((8, 8), 40_000, dtype=np.uint16)
    Image.fromarray(deep).save(root / "train" / "dog" / "1.png")
    with pytest.raises(RunError, match=says("1.png ... 8 bits ... I;16")):
        load(root)


def test_train_and_test_must_have_the_same_classes(root):
    picture(root / "test" / "cow" / "0.png", 0)
    with pytest.raises(RunError, match=says("train ... test ... cow")):
        load(root)


def test_which_folder_is_the_test_set_is_never_guessed(root, capsys):
    (root / "test").rename(root / "val")
    assert len(load(root)[1]) == 4
    picture(root / "test" / "cat" / "0.png", 0)
    with pytest.raises(RunError, match=says("^dataset.root ... test, train, val")):
        load(root)
    assert len(load(root, test="val")[1]) == 4
    with pytest.raises(RunError, match=says("^dataset.root ... holdout ... test, train, val")):
        load(root, test="holdout")


def test_a_root_without_classes_says_what_it_lacks(tmp_path):
    with pytest.raises(RunError, match=says("^dataset.root ... no folder ... nowhere")):
        load(tmp_path / "nowhere")
    for part in ("train", "test"):
        picture(tmp_path / "flat" / part / "0.png", 0)
    with pytest.raises(RunError, match=says("flat/train ... folder")):
        load(tmp_path / "flat")


def test_a_class_without_images_is_named(root):
    (root / "train" / "cow").mkdir()
    (root / "test" / "cow").mkdir()
    with pytest.raises(RunError, match=says("train/cow ... images")):
        load(root)


def streamed(root: Path) -> list[str]:
    """What the other reader of image folders lists for training."""
    data = StreamedImages(root=str(root), size=8, resize=8, mean=[0.5] * 3, std=[0.2] * 3).load()
    assert isinstance(data.train, StreamedSplit)
    return [os.fsdecode(name) for name in data.train.names.tolist()]


def test_both_readers_of_folders_see_the_same_images(root, monkeypatch):
    cat = root / "train" / "cat"
    picture(cat / ".thumbs" / "t.png", 1)
    picture(cat / ".hidden.png", 2)
    picture(cat / "sub" / "a.png", 3)
    picture(cat / "sub-2.png", 4)
    (cat / "folder.png").mkdir()
    picture(root.parent / "elsewhere" / "b.png", 5)
    (cat / "linked").symlink_to(root.parent / "elsewhere")
    (cat / "c.png").symlink_to(root.parent / "elsewhere" / "b.png")
    (cat / "loop").symlink_to(cat)
    (cat / "sub" / "up").symlink_to(root / "train")
    expected = ["0.png", "1.png", "2.png", "c.png", "linked/b.png", "sub-2.png", "sub/a.png"]
    seen: list[str] = []

    def decode(names: list[str], read: object, size: object) -> torch.Tensor:
        seen.extend(names)
        return torch.zeros(len(names), 3, 8, 8, dtype=torch.uint8)

    monkeypatch.setattr("vicinal.data.image_folder.decoded", decode)
    load(root)
    cats = [name.removeprefix("train/cat/") for name in seen if name.startswith("train/cat/")]
    assert cats == expected
    assert [n.removeprefix("cat/") for n in streamed(root) if n.startswith("cat/")] == expected


def test_names_that_are_not_utf8_are_read_like_others(root, capsys):
    picture(root / "train" / "cat" / os.fsdecode(b"\xe9.png"), 30)
    assert values(load(root)[0]) == [0, 10, 20, 30, 100, 110, 120]
    assert len(streamed(root)) == 7


@pytest.mark.skipif(not TINY.is_dir(), reason="needs ../shared/data")
def test_real_jpegs_decode_as_pillow_decodes_them(tmp_path, capsys):
    root = tmp_path / "tiny"
    for name in ("val", "train"):
        with tarfile.open(TINY / "val.tar.xz") as tar:
            tar.extractall(root / name, filter="data")
            (root / name / "val").rename(tmp_path / "inner")
            (root / name).rmdir()
            (tmp_path / "inner").rename(root / name)
    _, test = load(root)
    assert len(test) == 1250
    assert test.y.bincount().tolist() == [50] * 25
    file = sorted((root / "val").rglob("*.JPEG"))[321]
    with Image.open(file) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(test.x[321].permute(1, 2, 0), expected)
    assert npz.key(next((tmp_path / "packed").iterdir())) is not None
