"""SVHN's cropped digits as published: two MATLAB files.

Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", 2011.
"""

from pathlib import Path

import numpy as np
import torch

from vicinal.data.download import RemoteFile, fetch
from vicinal.data.split import Split
from vicinal.errors import RunError

TRAIN = RemoteFile(
    name="train_32x32.mat",
    urls=("http://ufldl.stanford.edu/housenumbers/train_32x32.mat",),
    checksum="sha256:435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    size=182_040_794,
)
TEST = RemoteFile(
    name="test_32x32.mat",
    urls=("http://ufldl.stanford.edu/housenumbers/test_32x32.mat",),
    checksum="sha256:cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    size=64_275_384,
)


def svhn(root: Path) -> tuple[Split, Split]:
    """73,257 + 26,032 images of 32 x 32; class k is the digit k."""
    return _read(fetch(TRAIN, root)), _read(fetch(TEST, root))


def _read(path: Path) -> Split:
    from scipy.io import loadmat  # noqa: PLC0415 (slow to import)

    content = loadmat(path, variable_names=["X", "y"])
    x, y = content["X"], content["y"].flatten().astype(np.int64)
    if x.dtype != np.uint8 or x.shape != (32, 32, 3, len(y)):
        raise RunError(f"{path} must hold bytes 32 x 32 x 3 x n, got {x.dtype} {x.shape}")
    pixels = np.ascontiguousarray(x.transpose(3, 2, 0, 1))
    return Split(
        torch.from_numpy(pixels), torch.from_numpy(y % 10)
    )  # the file labels the digit 0 as 10
