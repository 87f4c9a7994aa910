import time

import torch

from vicinal.data.split import Split, fingerprint

X = torch.randint(256, (20, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
Y = torch.arange(20) % 4
MARK = fingerprint(Split(X, Y))


def test_order_does_not_matter():
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    assert fingerprint(Split(X[order], Y[order])) == MARK


def test_one_pixel_matters():
    x = X.clone()
    x[7, 1, 2, 3] ^= 1
    assert fingerprint(Split(x, Y)) != MARK


def test_one_label_matters():
    y = Y.clone()
    y[7] = 3 - y[7]
    assert fingerprint(Split(X, y)) != MARK


def test_which_image_has_which_label_matters():
    assert fingerprint(Split(X, Y.roll(1))) != MARK


def test_shape_type_and_repetition_matter():
    assert fingerprint(Split(X.reshape(20, 3, 2, 8), Y)) != MARK
    assert fingerprint(Split(X.view(torch.int8), Y)) != MARK
    assert fingerprint(Split(X.repeat(2, 1, 1, 1), Y.repeat(2))) != MARK


def test_memory_layout_does_not_matter():
    assert fingerprint(Split(X.to(memory_format=torch.channels_last), Y)) == MARK


def test_ten_thousand_cifar_images_take_a_fraction_of_a_second():
    split = Split(torch.zeros(10_000, 3, 32, 32, dtype=torch.uint8), torch.zeros(10_000).long())
    start = time.process_time()
    fingerprint(split)
    assert time.process_time() - start < 0.5
