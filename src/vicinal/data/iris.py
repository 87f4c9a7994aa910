"""Iris, which scikit-learn ships: nothing to download.

150 flowers (Fisher, "The Use of Multiple Measurements in Taxonomic Problems", 1936).
"""

from pathlib import Path

import torch

from vicinal.data.split import Split


def iris(root: Path) -> Split:
    """150 x 4, 3 classes of 50; `root` is unused, because scikit-learn ships the data.

    UCI's file differs from Fisher's article in two flowers, which scikit-learn corrects. Here they
    are as in UCI's file, which others train on.
    """
    from sklearn.datasets import load_iris  # noqa: PLC0415 (slow to import)

    x, y = load_iris(return_X_y=True)
    x[[34, 37]] = 4.9, 3.1, 1.5, 0.1
    return Split(torch.from_numpy(x).float(), torch.from_numpy(y))
