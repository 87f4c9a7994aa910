"""Real handwritten digits that scikit-learn ships: nothing to download.

1,797 images of 8 x 8 in 17 greys by 43 people (Alpaydin and Kaynak 1998, the test half of UCI's
"Optical Recognition of Handwritten Digits").
"""

from pathlib import Path

import torch
from sklearn.datasets import load_digits

from vicinal.data.split import Split
from vicinal.data.subsets import stratified


def digits(root: Path) -> tuple[Split, Split]:
    """1,437 training and 360 test images, always the same; grey in three channels; no `root`."""
    pixels, labels = load_digits(return_X_y=True)
    grey = torch.from_numpy(pixels * (255 / 16)).round().to(torch.uint8)
    x = grey.view(-1, 1, 8, 8).repeat(1, 3, 1, 1)  # as networks for photographs expect
    y = torch.from_numpy(labels).long()
    train, test = stratified(y, share=0.2, seed=0)
    return Split(x[train], y[train]), Split(x[test], y[test])
