"""Jitter and lighting are CutMix's, image by image, and spare what they should."""

import numpy as np
import pytest
import torch
from torch import Tensor
from wording import says

from vicinal.draws import Rng
from vicinal.vicinities.color_jitter import EIGENVALUES, EIGENVECTORS, ColorJitter


def images(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, 5, 7, generator=generator, dtype=torch.float64), torch.eye(count)


def grey(image: np.ndarray) -> np.ndarray:
    return 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]


def literal(image: np.ndarray, order: list[int], a: list[float], b: list[float]) -> np.ndarray:
    """CutMix's ColorJitter in this order, then its Lighting; channel by channel."""
    for kind, factor in zip(order, a, strict=True):
        blend = np.zeros_like(image)
        for channel in range(3):
            if kind == 1:
                blend[channel] = grey(image).mean()
            if kind == 2:
                blend[channel] = grey(image)
        image = image + factor * (blend - image)
    lit = image.copy()
    for channel in range(3):
        for k in range(3):
            lit[channel] += EIGENVECTORS[channel][k] * b[k] * EIGENVALUES[k]
    return lit


def test_color_jitter_equals_its_definition_image_by_image() -> None:
    x, y = images()
    draws = Rng.seeded(3).cpu
    order = torch.rand((3, 6), generator=draws).argsort(dim=0)
    a = (2 * torch.rand((3, 6), generator=draws) - 1) * 0.4
    b = 0.1 * torch.randn((6, 3), generator=draws)
    drawn, labels = ColorJitter()(x, y, Rng.seeded(3))
    assert labels is y
    for n in range(6):
        numbers = order[:, n].tolist(), a[:, n].tolist(), b[n].tolist()
        np.testing.assert_allclose(drawn[n], literal(x[n].numpy(), *numbers), atol=1e-6)


def test_every_order_occurs_and_factors_fill_their_range() -> None:
    draws = Rng.seeded(0).cpu
    order = torch.rand((3, 6000), generator=draws).argsort(dim=0)
    counts = (order * torch.tensor([[9], [3], [1]])).sum(0).unique(return_counts=True)[1]
    assert len(counts) == 6
    assert counts.min() > 850


def test_grey_images_stay_grey_under_jitter_and_brightness_is_bounded() -> None:
    x = images()[0][:, :1].expand(-1, 3, -1, -1)
    drawn, _ = ColorJitter(lighting=0.0)(x, torch.eye(6), Rng.seeded(0))
    torch.testing.assert_close(drawn, drawn[:, :1].expand_as(drawn), atol=1e-6, rtol=0)
    assert (drawn.mean((1, 2, 3)) / x.mean((1, 2, 3)) - 1).abs().max() <= 0.4


def test_lighting_moves_all_pixels_of_an_image_alike() -> None:
    x, y = images()
    shift = ColorJitter(strength=0.0)(x, y, Rng.seeded(0))[0] - x
    assert shift.flatten(2).std(-1).max() < 1e-9
    assert (shift != 0).all()


def test_nothing_is_drawn_where_nothing_is_wanted() -> None:
    x, y = images()
    rng = Rng.seeded(0)
    assert ColorJitter(0.0, 0.0)(x, y, rng)[0] is x
    assert torch.equal(rng.cpu.get_state(), Rng.seeded(0).cpu.get_state())


def test_negative_strengths_are_refused() -> None:
    with pytest.raises(ValueError, match=says("lighting ... 0 ... -1")):
        ColorJitter(lighting=-1)
