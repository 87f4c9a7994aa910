"""AugMix's operators against Pillow."""

import io
import tarfile
from pathlib import Path

import pytest
import torch
from chain_samples import FORMS, drawn
from oracles import chains as oracle
from torch import Tensor
from torch.nn import functional as F

from vicinal.data.digits import digits
from vicinal.draws import Rng
from vicinal.images.chains import Plan
from vicinal.images.fused import FUSED, SINGLE, Family

PHOTOGRAPHS = Path(__file__).parents[3] / "shared/data/tiny-imagenet-25/val.tar.xz"


def applied(
    name: str, x: Tensor, at: Tensor, reach: float, form: tuple[Family, ...] = SINGLE
) -> Tensor:
    """One operator, in the form for CPUs or in that for devices."""
    for family in form:
        for kind, operator in enumerate(family.members):
            if operator.__name__ == name:
                kinds, size = torch.full((len(x), 1), kind), (x.shape[2], x.shape[3])
                numbers = family.numbers(kinds, at[:, None], size, reach)[:, 0]
                return family.apply(x, numbers, reach)
    raise AssertionError(name)


def written(size: int, count: int) -> Tensor:
    """Handwritten digits, resized."""
    train, _ = digits(Path())
    x = F.interpolate(train.x[:count].float(), (size, size), mode="bilinear")
    return x.round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)


def photographed(size: int, count: int) -> Tensor:
    """Crops of Tiny-ImageNet, enlarged where they are too small."""
    from PIL import Image  # noqa: PLC0415

    if not PHOTOGRAPHS.exists():
        pytest.skip("no Tiny-ImageNet here")
    images = []
    with tarfile.open(PHOTOGRAPHS, "r|xz") as archive:
        for member in archive:
            if member.name.endswith(".JPEG") and (file := archive.extractfile(member)):
                image = Image.open(io.BytesIO(file.read())).convert("RGB")
                image = image.resize((max(size, 64),) * 2)
                left = len(images) % (image.width - size + 1)
                box = (left, 0, left + size, size)
                images.append(oracle.from_pillow(image.crop(box)).clone())
            if len(images) == count:
                break
    return torch.stack(images)


def levels(count: int, severity: float) -> Tensor:
    """Random over the range, as they are drawn, and close to both ends; in both directions."""
    size = torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    size[:4] = torch.tensor([0, 0, 1, 1]).double() * (1 - 1e-9) + 1e-10
    direction = torch.tensor([1.0, -1.0]).double().repeat(count)[:count]
    return (0.1 + (severity - 0.1) * size) * direction


@pytest.mark.parametrize(("size", "count"), [(32, 96), (64, 36), (224, 8)])
@pytest.mark.parametrize("source", [drawn, written, photographed])
def test_every_operator_equals_pillows_bit_for_bit(source, size: int, count: int) -> None:
    """In the form for CPUs and in that for devices."""
    images = source(size, count)
    for severity in (1.0, 3.0, 9.9):
        at = levels(count, severity)
        for name in oracle.NAMES:
            forms = [applied(name, images.contiguous(), at, severity, f) for f in (SINGLE, FUSED)]
            for i in range(count):
                pillow = oracle.pillow(name, oracle.to_pillow(images[i]), at[i].item())
                expected = oracle.from_pillow(pillow)
                for ours in forms:
                    assert torch.equal(ours[i], expected), (name, at[i], i)


@FORMS
@pytest.mark.parametrize("name", oracle.NAMES)
def test_operators_equal_pillows_on_grey_images_too(name: str, form: tuple[Family, ...]) -> None:
    images, at = drawn(32, 24)[:, :1].contiguous(), levels(24, 3.0)
    ours = applied(name, images, at, 3.0, form)
    for i in range(24):
        theirs = oracle.pillow(name, oracle.to_pillow(images[i]), at[i].item())
        assert torch.equal(ours[i], oracle.from_pillow(theirs))


@FORMS
@pytest.mark.parametrize("name", oracle.NAMES)
def test_round_levels_are_within_one_step_of_pillows(name: str, form: tuple[Family, ...]) -> None:
    """Where a product is a whole number but for its last bit, truncation may fall either way."""
    images = drawn(32, 58)
    at = torch.linspace(0.11, 2.96, 58, dtype=torch.float64)
    ours = applied(name, images, at, 3.0, form)
    for i in range(58):
        theirs = oracle.pillow(name, oracle.to_pillow(images[i]), at[i].item())
        difference = ours[i].int() - oracle.from_pillow(theirs).int()
        assert difference.abs().max() <= 1


@pytest.mark.parametrize(
    ("severity", "bits", "degrees", "threshold", "pixels"),
    [(3.0, {3, 4}, 8, 180, {32: 3, 64: 6, 224: 22}), (1.0, {4}, 2, 231, {224: 7})],
)
def test_ranges_are_those_of_the_sheet(
    severity: float, bits: set[int], degrees: int, threshold: int, pixels: dict[int, int]
) -> None:
    at = Plan.drawn(900, 1, 1, severity, Rng.seeded(0)).levels.flatten()
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(900, 1, 16, 16)
    kept = {len(image.unique()).bit_length() - 1 for image in applied("posterize", ramp, at, 0)}
    assert kept == bits
    inverted = applied("solarize", ramp, at, 0) != ramp
    assert inverted.flatten(1).int().argmax(dim=1).min() == threshold
    turned = (at.abs() * 30 / 10).trunc().unique().tolist()
    assert turned == list(range(degrees + 1))
    for side, most in pixels.items():
        line = torch.arange(side).to(torch.uint8).view(1, 1, 1, side).expand(900, 1, 1, side)
        moved = applied("translate_x", line, at, severity)[:, 0, 0, side // 2].int() - side // 2
        assert moved.unique().tolist() == list(range(-most, most + 1))
