"""What only the published files can show; they are looked for in $VICINAL_DATA, or in data/."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from corrupted_samples import npy

from vicinal.data.cifar import CIFAR10, cifar10
from vicinal.data.shifted.cifar_c import CIFAR10_C, MD5, CifarC
from vicinal.draws import Rng
from vicinal.images.corruptions.corrupt import COMMON, EXTRA

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared" / "data"
DATA = Path(os.environ.get("VICINAL_DATA", ROOT / "data"))
OFFICIAL = [DATA / CIFAR10.name, DATA / CIFAR10_C.name]
DETERMINISTIC = ("contrast", "pixelate", "brightness", "saturate", "gaussian_blur", "defocus_blur")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_the_published_labels_are_those_of_cifar10_five_times():
    labels = np.fromfile(SHARED / "cifar10" / "test-labels.u8", np.uint8)
    content = npy(np.tile(labels, 5))
    assert hashlib.md5(content).hexdigest() == MD5["CIFAR-10-C"]["labels"]


def both(name: str) -> list[torch.Tensor]:
    """Clean, published and generated images."""
    corrupt = pytest.importorskip("vicinal.images.corruptions.corrupt")
    corruption, _, severity = name.rpartition("_")
    test = cifar10(DATA)[1]
    published = CifarC("CIFAR-10-C", str(DATA), (corruption,)).load(name, test, Rng.seeded(0))
    assert torch.equal(published.y, test.y)  # in the same order
    made = corrupt.corrupted(corruption, int(severity), test.x, Rng.seeded(0))
    return [x.float() for x in (test.x, published.x, made)]


@pytest.mark.slow
@pytest.mark.skipif(not all(path.exists() for path in OFFICIAL), reason="needs CIFAR-10-C")
@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("corruption", [each for each in COMMON + EXTRA if each != "frost"])
def test_generated_images_are_as_far_from_clean_ones_as_published_ones(corruption, severity):
    clean, published, made = both(f"{corruption}_{severity}")
    assert (made - clean).abs().mean() == pytest.approx((published - clean).abs().mean(), rel=0.03)


@pytest.mark.slow
@pytest.mark.skipif(not all(path.exists() for path in OFFICIAL), reason="needs CIFAR-10-C")
@pytest.mark.parametrize("corruption", DETERMINISTIC)
def test_without_chance_generated_images_equal_published_ones_up_to_rounding(corruption):
    _, published, made = both(f"{corruption}_3")
    difference = (made - published).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.01
