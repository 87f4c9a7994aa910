"""Frost's pictures: where they come from, how they shrink, which parts are chosen."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from corruption_samples import photographs
from PIL import Image
from wording import says

from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.images.corruptions import pictures as pictures_module
from vicinal.images.corruptions.corrupt import corrupted
from vicinal.images.corruptions.pictures import NAMES, pictures
from vicinal.images.corruptions.weather import frost

CPU = torch.device("cpu")


def folder(root: Path, height: int = 400, width: int = 300) -> Path:
    """Five pictures, each of one grey value, and a sixth, which is white."""
    for number, name in enumerate([*NAMES, "frost6.jpg"]):
        grey = 10 * number if number < 5 else 255
        image = Image.fromarray(np.full((height, width, 3), grey, dtype=np.uint8))
        image.save(root / name, "PNG")  # whose values are kept; Pillow ignores the name
    return root


def test_the_first_five_pictures_are_chosen_equally_often(tmp_path: Path) -> None:
    x = torch.zeros(2000, 3, 32, 32, dtype=torch.uint8)
    values = corrupted("frost", 4, x, Rng.seeded(0), frost=folder(tmp_path))
    assert torch.equal(values.amin(dim=(1, 2, 3)), values.amax(dim=(1, 2, 3)))
    greys, counts = values[:, 0, 0, 0].unique(return_counts=True)
    assert greys.tolist() == [0, 4, 8, 12, 16]  # two fifths of the pictures'
    assert (counts / 2000 - 0.2).abs().max() < 5 * (0.2 * 0.8 / 2000) ** 0.5


def test_parts_begin_anywhere_but_at_the_last_row_and_column(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:36, :35].astype(np.uint8)
    numbers = np.stack([rows, columns, rows], axis=2)
    for name in NAMES:
        Image.fromarray(numbers).save(tmp_path / name, "PNG")
    known = pictures(tmp_path, 1.0, 32, 32, CPU)
    black = torch.zeros(1000, 3, 32, 32, dtype=torch.uint8)
    parts = frost(black, (1.0, 1.0), Rng.seeded(0), known)
    top, left = parts[:, 0, :1, :1], parts[:, 1, :1, :1]
    assert top.unique().tolist() == [0, 1, 2, 3]  # 36 - 32 = 4 is possible, too
    assert left.unique().tolist() == [0, 1, 2]
    places = torch.arange(32, dtype=torch.uint8)
    assert torch.equal(parts[:, 0], (top + places[:, None]).expand(-1, -1, 32))
    assert torch.equal(parts[:, 1], (left + places).expand(-1, 32, -1))


@pytest.mark.parametrize("scale", [0.2, 0.3])
def test_pictures_shrink_as_in_opencv(scale: float) -> None:
    cv2 = pytest.importorskip("cv2")
    package = pytest.importorskip("imagecorruptions")
    known = pictures(None, scale, 32, 32, CPU)
    sizes = (known.heights * known.widths).tolist()
    for name, pixels in zip(NAMES, known.pixels.split(sizes, dim=1), strict=True):
        picture = cv2.imread(str(Path(package.__file__).parent / "frost" / name))
        shrunk = cv2.resize(picture, (0, 0), fx=scale, fy=scale)[..., ::-1]
        assert np.array_equal(shrunk.reshape(-1, 3).T, pixels.numpy())


@pytest.mark.parametrize("side", [32, 94, 119, 224, 315, 400])
def test_pictures_that_are_too_small_are_made_just_large_enough(side: int, tmp_path: Path) -> None:
    known = pictures(folder(tmp_path, 315, 560), 0.3, side, side, CPU)
    wanted = max(round(315 * 0.3), side + 1)
    assert known.heights.tolist() == [wanted] * 5
    assert (known.widths > known.heights).all()


def test_without_pictures_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures_module, "find_spec", lambda name: None)
    pictures.cache_clear()
    with pytest.raises(RunError, match=says("frost ... pip install vicinal[corruptions]")) as error:
        corrupted("frost", 1, photographs(32, 6), Rng.seeded(0))
    assert "\n" not in str(error.value)
    pictures.cache_clear()


def test_a_folder_without_the_pictures_is_refused_by_the_missing_path(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=says(f"frost ... {tmp_path / NAMES[0]}")):
        corrupted("frost", 1, photographs(32, 6), Rng.seeded(0), frost=tmp_path)


def test_the_package_with_the_pictures_is_not_imported() -> None:
    pytest.importorskip("imagecorruptions")
    for module in [name for name in sys.modules if name.startswith("imagecorruptions")]:
        del sys.modules[module]
    pictures.cache_clear()
    corrupted("frost", 1, photographs(32, 6), Rng.seeded(0))
    assert "imagecorruptions" not in sys.modules
