import torch
from sklearn.datasets import load_digits

from vicinal.data.digits import digits


def test_every_digit_of_scikit_learn_is_in_one_of_the_two_sets(tmp_path):
    train, test = digits(tmp_path)
    assert (len(train), len(test)) == (1437, 360)
    pixels, labels = load_digits(return_X_y=True)
    whole = torch.cat([train.x[:, 0], test.x[:, 0]]).flatten(1)
    rows = {(*row, label) for row, label in zip(whole.tolist(), (*train.y, *test.y), strict=True)}
    rows = {tuple(map(int, row)) for row in rows}
    expected = {
        (*(round(v * 255 / 16) for v in row), int(label))
        for row, label in zip(pixels, labels, strict=True)
    }
    assert rows == expected


def test_the_two_sets_have_the_same_share_of_each_digit(tmp_path):
    train, test = digits(tmp_path)
    share = test.y.bincount() / (train.y.bincount() + test.y.bincount())
    assert ((share - 360 / 1797).abs() < 0.004).all()


def test_grey_is_three_equal_channels_up_to_white(tmp_path):
    train, _ = digits(tmp_path)
    assert torch.equal(train.x[:, 0], train.x[:, 2])
    assert int(train.x.max()) == 255
