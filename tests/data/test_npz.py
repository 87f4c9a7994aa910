import numpy as np
import pytest
import torch
from wording import says

from vicinal.data import npz
from vicinal.data.split import Split
from vicinal.errors import RunError

RNG = np.random.default_rng(0)
FIRST = RNG.integers(256, size=(6, 3, 5, 4), dtype=np.uint8)  # n c h w


def saved(path, **changed):
    whole = {"x_train": FIRST, "y_train": np.arange(6) % 2}
    whole |= {"x_test": FIRST[:2], "y_test": np.arange(2, dtype=np.uint8)} | changed
    np.savez(path, **{name: array for name, array in whole.items() if array is not None})
    return path


def test_both_layouts_give_the_same_images(tmp_path):
    last = {"x_train": FIRST.transpose(0, 2, 3, 1), "x_test": FIRST[:2].transpose(0, 2, 3, 1)}
    train, test = npz.images(saved(tmp_path / "first.npz"))
    other, _ = npz.images(saved(tmp_path / "last.npz", **last))
    assert torch.equal(train.x, torch.from_numpy(FIRST))
    assert torch.equal(train.x, other.x)
    assert test.y.tolist() == [0, 1]
    assert test.y.dtype == torch.int64


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x_test": None}, "x_train, y_train, x_test, y_test ... x_test"),
        ({"x_train": FIRST.astype(np.float32)}, "x_train ... uint8 ... float32 6 x 3 x 5 x 4"),
        ({"x_train": FIRST[:, 0]}, "x_train ... uint8 6 x 5 x 4"),
        ({"x_train": FIRST[:, :2]}, "x_train ... 1 ... 3 ... uint8 6 x 2 x 5 x 4"),
        ({"x_train": FIRST[..., :3]}, "x_train ... 1 ... 3 ... uint8 6 x 3 x 5 x 3"),  # no telling
        ({"y_train": np.arange(5)}, "y_train ... 6 ... int64 5"),
        ({"y_train": np.arange(6) / 2}, "y_train ... 6 ... float64 6"),
        ({"y_train": np.array([None] * 6)}, "a.npz ... Object arrays cannot be loaded"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path, changed, said):
    with pytest.raises(RunError, match=says(said)):
        npz.images(saved(tmp_path / "a.npz", **changed))


def test_another_file_is_no_npz(tmp_path):
    with (tmp_path / "b.npz").open("wb") as file:
        np.save(file, FIRST)
    with pytest.raises(RunError, match=says("b.npz ... numpy.savez")):
        npz.images(tmp_path / "b.npz")


def test_a_flipped_bit_is_noticed(tmp_path):
    path = saved(tmp_path / "a.npz")
    data = bytearray(path.read_bytes())
    data[data.index(FIRST.tobytes()) + 10] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match="CRC"):
        npz.images(path)


def test_vectors_become_float32(tmp_path):
    x = RNG.normal(size=(6, 4))
    train, _ = npz.vectors(saved(tmp_path / "a.npz", x_train=x, x_test=x[:2]))
    assert torch.equal(train.x, torch.from_numpy(x).float())
    with pytest.raises(RunError, match=says("x_train ... n x d ... uint8 6 x 3 x 5 x 4")):
        npz.vectors(saved(tmp_path / "b.npz"))


def test_what_is_written_is_read_back_with_its_key(tmp_path):
    train, test = npz.images(saved(tmp_path / "a.npz"))
    npz.write(tmp_path / "new" / "b.npz", train, test, key="origin")
    again, _ = npz.images(tmp_path / "new" / "b.npz")
    assert torch.equal(again.x, train.x)
    assert npz.key(tmp_path / "new" / "b.npz") == "origin"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["b.npz"]
    assert npz.key(tmp_path / "a.npz") is None
    assert npz.key(tmp_path / "none.npz") is None


def test_maps_keep_their_precision_their_validation_set_and_their_marks(tmp_path):
    x = torch.from_numpy(RNG.normal(size=(6, 1, 5, 4))).half()
    splits = [Split(x[rows], torch.arange(len(x[rows]))) for rows in (slice(3), slice(3, 5), [5])]
    marks = {"train": "a", "valid": "b", "test": "c"}
    train, valid, test = splits
    npz.write(tmp_path / "a.npz", train, test, valid, key="origin", marks=marks)
    again, found = npz.maps(tmp_path / "a.npz")
    assert found == marks
    assert list(again) == ["train", "valid", "test"]
    for ours, theirs in zip(again.values(), splits, strict=True):
        assert torch.equal(ours.x, theirs.x)
        assert torch.equal(ours.y, theirs.y)


def test_maps_are_floats_with_a_validation_set(tmp_path):
    with pytest.raises(RunError, match=says("x_valid ... y_valid ... mark_valid")):
        npz.maps(saved(tmp_path / "a.npz"))
    more = {f"mark_{part}": np.array("") for part in npz.PARTS}
    more |= {"x_valid": FIRST[:2], "y_valid": np.arange(2)}
    with pytest.raises(RunError, match=says("x_train ... floats ... uint8 6 x 3 x 5 x 4")):
        npz.maps(saved(tmp_path / "b.npz", **more))
