"""At 224 pixels' constants, the corruptions against the package imagecorruptions(-imaug).

Any size will do, because that package uses those constants at all of them.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from corruption_samples import agreement, photographs
from torch import Tensor

from vicinal.draws import Rng
from vicinal.images.corruptions.corrupt import corrupted

pytest.importorskip("imagecorruptions")
SIDE = 64
SAME = "defocus_blur", "brightness", "contrast", "jpeg_compression", "gaussian_blur", "saturate"
# The package changed frost (it scales its pictures) and elastic_transform (without an affine map).
# Its enlargements are cut at the lower right instead of all around, which hardly changes snow's
# distribution, but does change zoom blur.
ALIKE = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur"),
    *("motion_blur", "snow", "fog", "spatter"),
)


@pytest.fixture(scope="module")
def theirs() -> Callable[[str, int, Tensor], Tensor]:
    from imagecorruptions import corrupt  # noqa: PLC0415

    def one_by_one(name: str, severity: int, x: Tensor) -> Tensor:
        images = x.permute(0, 2, 3, 1).contiguous().numpy()
        found = [corrupt(image, severity, name) for image in images]
        return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)

    return one_by_one


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("name", SAME)
def test_equals_the_package_where_nothing_is_drawn(
    name: str, severity: int, theirs: Callable[[str, int, Tensor], Tensor]
) -> None:
    x = photographs(SIDE, 6)
    ours = corrupted(name, severity, x, Rng.seeded(0), side=224)
    share, largest = agreement(ours, theirs(name, severity, x))
    assert (share, largest) == (1, 0)


def shape(change: Tensor) -> Tensor:
    """Mean, deviation and nine quantiles of an image's changes."""
    quantiles = torch.quantile(change, torch.linspace(0.1, 0.9, 9))
    return torch.cat([torch.stack([change.mean(), change.std()]), quantiles])


@pytest.mark.slow  # a package that compiles, and handles one image at a time
@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("name", ALIKE)
def test_changes_are_distributed_as_the_packages(
    name: str, severity: int, theirs: Callable[[str, int, Tensor], Tensor]
) -> None:
    np.random.seed(0)  # what the package draws from
    x = photographs(SIDE, 6)[:1].expand(60, -1, -1, -1)
    ours = corrupted(name, severity, x, Rng.seeded(0), side=224)
    both = [ours, theirs(name, severity, x)]
    first, second = (
        torch.stack([shape(image.flatten()) for image in each.float() - x]) for each in both
    )
    error = ((first.var(dim=0) + second.var(dim=0)) / 60).sqrt()
    assert ((first.mean(dim=0) - second.mean(dim=0)).abs() <= 4.5 * error + 1).all()
