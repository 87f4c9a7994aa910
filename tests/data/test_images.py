from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from wording import says

from vicinal.data.digits import digits
from vicinal.data.images import Images, channel_statistics, check, resized
from vicinal.data.split import Split
from vicinal.errors import RunError
from vicinal.vicinities.crop_flip import CropFlip
from vicinal.vicinities.identity import Identity


def noise(count: int, classes: int, seed: int, size: int = 8) -> Split:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(256, (count, 3, size, size), generator=generator).to(torch.uint8)
    return Split(x, torch.arange(count) % classes)


def source(root: Path) -> tuple[Split, Split]:
    return noise(200, 4, seed=0), noise(40, 4, seed=1)


def made(**options) -> Images:
    return Images(**({"name": "noise", "source": source} | options))


def saved(path: Path) -> str:
    train, test = source(path)
    np.savez(path, x_train=train.x, y_train=train.y, x_test=test.x, y_test=test.y)
    return str(path)


def test_without_options_the_data_is_what_was_read():
    data = made().load()
    train, test = source(Path())
    assert torch.equal(data.train.x, train.x)
    assert torch.equal(data.test.y, test.y)
    assert data.valid is None
    assert data.train.redrawn is None
    assert data.num_classes == 4


def test_the_fingerprint_names_the_data_not_the_protocol():
    plain = made().load().fingerprint
    cut = made(size=4, holdout_per_class=5, train_per_class=3, label_noise=0.5).load()
    assert cut.fingerprint == plain
    assert len(cut.train) == 12


def test_label_noise_spares_validation_and_test():
    clean = made(holdout_per_class=10).load()
    noisy = made(holdout_per_class=10, label_noise=0.8).load()
    again = made(holdout_per_class=10, label_noise=0.8).load()
    assert clean.valid is not None
    assert noisy.valid is not None
    assert torch.equal(noisy.test.y, clean.test.y)
    assert torch.equal(noisy.valid.y, clean.valid.y)
    assert torch.equal(noisy.train.x, clean.train.x)
    assert not torch.equal(noisy.train.y, clean.train.y)
    assert torch.equal(noisy.train.y, again.train.y)
    assert noisy.valid.redrawn is None
    assert noisy.test.redrawn is None


def test_statistics_are_those_of_the_training_images_alone():
    data = made(train_per_class=2).load()
    pixels = data.train.x.double() / 255
    np.testing.assert_allclose(data.mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(data.std, pixels.std((0, 2, 3), correction=0), rtol=1e-9)
    given = made(mean=[0.5] * 3, std=[0.25] * 3).load()
    assert (given.mean, given.std) == ((0.5,) * 3, (0.25,) * 3)


def test_a_constant_channel_is_divided_by_one():
    x = torch.zeros(5, 3, 2, 2, dtype=torch.uint8)
    x[:, 1] = 255
    assert channel_statistics(x) == ((0.0, 1.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("size", [4, 12, 32])
def test_resizing_is_pillows_within_rounding(size):
    split = noise(3, 3, seed=2)
    ours = resized(split, size).x.permute(0, 2, 3, 1).numpy()
    for image, mine in zip(split.x.permute(0, 2, 3, 1).numpy(), ours, strict=True):
        pillows = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(pillows).astype(int) - mine).max() <= 1


def test_arrays_replace_the_source(tmp_path):
    path = saved(tmp_path / "copy.npz")
    data = made(source=digits, arrays=path).load()
    assert torch.equal(data.train.x, source(tmp_path)[0].x)


def test_a_stand_in_is_the_original_only_if_its_fingerprint_says_so(tmp_path):
    path = saved(tmp_path / "copy.npz")
    marks = made().load().fingerprint
    assert made(arrays=path, canonical=marks).load().canonical is True
    assert made(arrays=path, canonical=marks | {"test": "0"}).load().canonical is False
    assert made(arrays=path).load().canonical is False
    assert made().load().canonical is None
    assert made(source=None, arrays=path).load().canonical is None


def test_the_name_is_that_of_the_file_or_the_folder(tmp_path):
    path = saved(tmp_path / "my set.npz")
    assert made(name="", source=None, arrays=path).name == "my set"
    assert made(arrays=path).name == "noise"
    assert made(name="", root="/somewhere/pets.v2/").name == "pets.v2"


def test_the_augmentation_is_crop_and_flip_or_nothing():
    assert made().augment == Identity()
    assert made(flip=True).augment == CropFlip(padding=0, mode="zeros", flip=True)
    wide = made(crop_padding=2, crop_mode="reflect")
    assert wide.augment == CropFlip(padding=2, mode="reflect", flip=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"source": None}, "arrays ... .npz ... null"),
        ({"arrays": "nowhere.npz"}, "arrays ... nowhere.npz"),
        ({"name": "a/b"}, "name ... 'a/b'"),
        ({"name": "", "root": "."}, "name ... ''"),
        ({"name": ".."}, "name ... '..'"),
        ({"name": "", "root": "donn\udce9es"}, "name ... 'donn\\udce9es'"),
        ({"size": 0}, "size ... 1 ... 0"),
        ({"mean": [0.5]}, "std ... mean ... None ... [0.5]"),
        ({"mean": [0.5], "std": [0.5, 0.5]}, "std ... mean ... [0.5, 0.5] ... [0.5]"),
        ({"mean": [0.5], "std": [0.0]}, "std ... [0.0]"),
        ({"crop_padding": -1}, "crop_padding ... 0 ... -1"),
        ({"train_per_class": 0}, "train_per_class ... 1 ... 0"),
        ({"holdout_per_class": -1}, "holdout_per_class ... 0 ... -1"),
        ({"label_noise": 1.1}, "label_noise ... 0 ... 1 ... 1.1"),
        ({"known_size": {"classes": 10}}, "known_size ... classes, train, test, shape"),
    ],
)
def test_settings_are_checked_before_anything_is_read(options, said):
    with pytest.raises(ValueError, match=says(f"^{said}")):
        made(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mean": [0.5], "std": [0.5]}, "dataset.mean ... 3 ... [0.5]"),
        ({"crop_mode": "reflect", "crop_padding": 8}, "dataset.crop_padding ... 8 ... reflection"),
        ({"holdout_per_class": 50}, "dataset.holdout_per_class ... 50 ... class 0"),
    ],
)
def test_what_only_the_data_can_tell_is_one_line(options, said):
    with pytest.raises(RunError, match=says(f"^{said}")):
        made(**options).load()


def test_every_class_must_occur_in_training():
    good = noise(8, 4, seed=0)
    check(good, good[good.y < 2])
    with pytest.raises(RunError, match=says("labels ... 0 ... k - 1 ... [1, 2, 3]")):
        check(good[good.y > 0], good)
    with pytest.raises(RunError, match=says("labels ... 3 ... [0, 1, 2, 3]")):
        check(good[good.y < 3], good)
    with pytest.raises(RunError, match=says("test ... 0 x 3 x 8 x 8")):
        check(good, good[good.y > 4])
    with pytest.raises(RunError, match=says("shape ... 3 x 8 x 8 ... 3 x 9 x 9")):
        check(good, noise(8, 4, seed=0, size=9))


def test_oblong_images_are_not_distorted():
    oblong = Split(torch.zeros(2, 3, 4, 6, dtype=torch.uint8), torch.arange(2))
    with pytest.raises(RunError, match=says("dataset.size ... 4 x 6")):
        resized(oblong, 8)


def test_what_is_left_out_is_kept_without_its_labels():
    options = {"train_per_class": 10, "holdout_per_class": 5, "split_seed": 3}
    data = made(**options, unlabelled=True).load()
    assert data.valid is not None
    assert data.unlabelled is not None
    assert made(**options).load().unlabelled is None
    assert [len(s) for s in (data.train, data.valid, data.unlabelled)] == [40, 20, 140]
    assert data.unlabelled.y.unique().tolist() == [-1]
    parts = [data.train.x, data.valid.x, data.unlabelled.x]
    images = {tuple(image.flatten().tolist()) for part in parts for image in part}
    assert images == {tuple(image.flatten().tolist()) for image in source(Path())[0].x}
    assert torch.equal(data.train.x, made(**options).load().train.x)


def test_something_must_be_left_out():
    with pytest.raises(ValueError, match=says("^unlabelled ... train_per_class")):
        made(unlabelled=True)
    with pytest.raises(RunError, match=says("^dataset.unlabelled ... train_per_class=50")):
        made(unlabelled=True, train_per_class=50).load()
