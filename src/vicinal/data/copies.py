"""A source with further training images: changed copies of its own, in folders beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vicinal.data.image_folder import one_folder
from vicinal.data.split import Source, Split
from vicinal.errors import RunError


@dataclass(frozen=True)
class WithCopies:
    """`source` and the images ROOT/FOLDER/CLASS/* of each folder, all of which are trained on.

    The classes are the sorted names of the class folders, as many as the source has. Images are
    resized to the source's size if they have another.
    """

    source: Source
    folders: Sequence[str]
    cache: str = "data/packed"

    def __call__(self, root: Path) -> tuple[Split, Split]:
        """Training and test images."""
        train, test = self.source(root)
        classes, splits = int(train.y.max()) + 1, [train]
        for name in self.folders:
            if not (root / name).is_dir():
                raise RunError(f"dataset.source.folders must be in {root}, got {name}")
            more = one_folder(root / name, train.shape[1], self.cache)
            if int(more.y.max()) + 1 != classes:
                raise RunError(
                    f"{root / name} must have the {classes} classes of the training images, got "
                    f"{int(more.y.max()) + 1}"
                )
            splits.append(more)
        x, y = (torch.cat([getattr(split, key) for split in splits]) for key in ("x", "y"))
        return Split(x, y), test
