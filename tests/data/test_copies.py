"""Changed copies of training images, in folders beside them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from wording import says

from vicinal.data.copies import WithCopies
from vicinal.data.split import Split
from vicinal.errors import RunError


def picture(path: Path, value: int, size: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (value, value, value)).save(path)


def source(root: Path) -> tuple[Split, Split]:
    """Two images of class 0, and one of class 1."""
    x = torch.from_numpy(np.arange(3, dtype=np.uint8)).view(3, 1, 1, 1).expand(3, 3, 4, 4)
    return Split(x, torch.tensor([0, 0, 1])), Split(x[:2], torch.tensor([0, 1]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, folder in enumerate(("EDSR", "CAE")):
        for label, count in (("cat", 2), ("dog", 1)):
            for k in range(count):
                place = tmp_path / folder / label / f"{k}.png"
                picture(place, 100 * (number + 1) + k, 4 + 4 * number)
    return tmp_path


def made(root: Path, *folders: str) -> tuple[Split, Split]:
    return WithCopies(source, folders, str(root / "packed"))(root)


def test_all_copies_are_trained_on_with_the_label_of_their_folder(root: Path) -> None:
    train, test = made(root, "EDSR", "CAE")
    assert train.x[:, 0, 0, 0].tolist() == [0, 1, 2, 100, 101, 100, 200, 201, 200]
    assert train.y.tolist() == [0, 0, 1] * 3
    assert train.shape == (3, 4, 4)  # the larger copies of CAE were resized
    assert len(test) == 2


def test_no_copy_is_decoded_twice(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = made(root, "CAE")
    monkeypatch.setattr("vicinal.data.image_folder.decoded", None)
    again, _ = made(root, "CAE")
    assert torch.equal(first.x, again.x)


def test_folders_of_other_classes_are_refused(root: Path) -> None:
    with pytest.raises(RunError, match=says("dataset.source.folders ... ANT")):
        made(root, "ANT")
    picture(root / "CAE" / "eel" / "0.png", 1)
    with pytest.raises(RunError, match=says("CAE must have the 2 classes ... 3")):
        made(root, "CAE")
