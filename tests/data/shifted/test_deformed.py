"""PatchUp's deformed sets: their pixels are Pillow's, their angles of the evaluation's seed."""

from math import cos, radians

import pytest
import torch
from oracles.deformations import matrix_of_2019, transformed
from torch import Tensor
from torchvision.transforms import functional
from wording import says

from vicinal.data.shifted import changed
from vicinal.data.shifted.deformed import DEFORMATIONS, Deformed, deformed
from vicinal.data.shifted.sets import ShiftedSets
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.errors import RunError


def split(number: int, size: int) -> Split:
    generator = torch.Generator().manual_seed(size)
    shape = (number, 3, size, size)
    x = torch.randint(1, 256, shape, generator=generator, dtype=torch.uint8)
    return Split(x, torch.arange(number) % 7)


def pixels(of: changed.Changed, *batches: Tensor) -> Tensor:
    return torch.cat([x for x, _, _ in of.batches(batches or [torch.arange(len(of))])])


def angles(number: int, amount: float, rng: Rng) -> list[float]:
    uniform = torch.rand(number, dtype=torch.float64, generator=rng.cpu)
    return (amount * (2 * uniform - 1)).tolist()


@pytest.mark.parametrize("name", DEFORMATIONS)
@pytest.mark.parametrize("size", [32, 64])
def test_pixels_equal_those_of_the_authors_release_image_by_image(name: str, size: int) -> None:
    (kind, amount), number = DEFORMATIONS[name], 200
    test = split(number, size)
    ours = pixels(Deformed().load(name, test, Rng.seeded(3)))
    drawn = angles(number, amount, Rng.seeded(3).fork(0))  # 200 images lie within one block
    for i in range(number):
        matrix = matrix_of_2019(
            size,
            drawn[i] if kind == "rotate" else 0.0,
            amount if kind == "scale" else 1.0,
            drawn[i] if kind == "shear" else 0.0,
        )
        assert torch.equal(ours[i], transformed(test.x[i], matrix)), i


@pytest.mark.parametrize("name", DEFORMATIONS)
def test_pixels_can_be_those_of_todays_torchvision(name: str) -> None:
    (kind, amount), number = DEFORMATIONS[name], 100
    test = split(number, 32)
    ours = deformed(kind, amount, "v0.8", test.x, Rng.seeded(3))
    drawn = angles(number, amount, Rng.seeded(3))
    for i in range(number):
        found = functional.affine(
            functional.to_pil_image(test.x[i]),
            drawn[i] if kind == "rotate" else 0.0,
            [0, 0],
            amount if kind == "scale" else 1.0,
            [drawn[i] if kind == "shear" else 0.0, 0.0],
        )
        assert torch.equal(ours[i], functional.pil_to_tensor(found)), i


def test_each_image_has_an_angle_of_its_own() -> None:
    same = split(1, 32).x.expand(50, -1, -1, -1)
    turned = deformed("rotate", 20.0, "v0.4", same, Rng.seeded(0))
    assert len(torch.unique(turned, dim=0)) > 40  # close angles have the same nearest pixels


def test_the_early_shear_flattens_the_image_by_its_cosine() -> None:
    white = torch.full((400, 3, 64, 64), 255, dtype=torch.uint8)
    sheared = deformed("shear", 57.3, "v0.4", white, Rng.seeded(1))
    heights = (sheared[:, 0] > 0).any(2).sum(1)
    for height, angle in zip(heights.tolist(), angles(400, 57.3, Rng.seeded(1)), strict=True):
        assert abs(height - 64 * cos(radians(angle))) <= 1.5
    upright = deformed("shear", 57.3, "v0.8", white, Rng.seeded(1))
    assert (upright[:, 0] > 0).any(2).all()


def test_factors_below_one_shrink_and_leave_a_black_frame() -> None:
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    shrunk = deformed("scale", 0.6, "v0.4", white, Rng.seeded(0))
    side = shrunk[0, 0, 16].gt(0).sum().item()
    assert abs(side - 0.6 * 32) <= 1
    assert not shrunk[0, :, :5].any()
    assert deformed("scale", 1.4, "v0.4", white, Rng.seeded(0)).eq(255).all()


def test_a_set_is_the_same_in_any_batches_and_another_with_another_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changed, "BLOCK_PIXELS", 7 * 16 * 16)
    test, sets = split(30, 16), Deformed()
    assert isinstance(sets, ShiftedSets)
    of = sets.load("rotate_40", test, Rng.seeded(0))
    assert torch.equal(of.y, test.y)
    whole, before = pixels(of), test.x.clone()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pixels(of, *order.split(4)), whole[order])
    assert torch.equal(pixels(sets.load("rotate_40", test, Rng.seeded(0))), whole)
    assert not torch.equal(pixels(sets.load("rotate_40", test, Rng.seeded(1))), whole)
    assert torch.equal(test.x, before)


def test_what_cannot_be_deformed_is_refused_with_its_reason() -> None:
    vectors = Split(torch.zeros(3, 5), torch.zeros(3).long())
    with pytest.raises(RunError, match=says("^dataset ... images ... (5,)")):
        Deformed().load("rotate_20", vectors, Rng.seeded(0))
    with pytest.raises(ValueError, match=says("^torchvision ... v0.4 ... v0.8 ... v1")):
        Deformed.__init__.__wrapped__(object.__new__(Deformed), "v1")
