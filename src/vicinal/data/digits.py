"""Real handwritten digits that scikit-learn ships: nothing to download.

1,797 images of 8 x 8 in 17 greys by 43 people (Alpaydin and Kaynak 1998, the test half of UCI's
"Optical Recognition of Handwritten Digits").
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from vicinal.data.split import Split
from vicinal.data.subsets import stratified


def digits(root: Path) -> tuple[Split, Split]:
    """1,437 training and 360 test images, always the same; grey in three channels; no `root`."""
    pixels, labels = read_digits()
    grey = torch.from_numpy(pixels * (255 / 16)).round().to(torch.uint8)
    x = grey.view(-1, 1, 8, 8).repeat(1, 3, 1, 1)  # as networks for photographs expect
    y = torch.from_numpy(labels).long()
    train, test = stratified(y, share=0.2, seed=0)
    return Split(x[train], y[train]), Split(x[test], y[test])


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """What load_digits of sklearn returns, from its file: sklearn takes a second to import."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).with_name("datasets") / "data" / "digits.csv.gz"
    table = np.loadtxt(file, delimiter=",")
    return table[:, :-1], table[:, -1].astype(int)
