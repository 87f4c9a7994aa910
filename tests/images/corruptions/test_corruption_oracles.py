"""Every corruption equals the original's steps, one image at a time, from the same draws."""

import pytest
from corruption_samples import FIXED, agreement, literal, photographs

from vicinal.draws import Rng
from vicinal.images.corruptions.corrupt import TABLE, corrupted

NEEDS = {  # a library that the oracle uses, or whose pictures
    **dict.fromkeys(["defocus_blur", "spatter"], "cv2"),
    **dict.fromkeys(["brightness", "saturate"], "skimage"),
    "frost": "imagecorruptions",
}


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("side", [32, 64, pytest.param(224, marks=pytest.mark.slow)])
def test_equals_the_literal_corruption(name: str, side: int, severity: int) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    x = photographs(side, 6)[{32: slice(6), 64: slice(4, 6), 224: slice(1)}[side]]
    ours = corrupted(name, severity, x, Rng.seeded(severity))
    share, largest = agreement(ours, literal(name, severity, x, Rng.seeded(severity)))
    assert share == 1 if name in FIXED else share > 0.9995  # some of the others are in float32
    assert largest <= 1
