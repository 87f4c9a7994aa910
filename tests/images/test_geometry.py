"""Shares of neighbouring pixels, in which shears are computed."""

import torch

from vicinal.images.geometry import _shares


def test_a_share_in_float32_truncates_as_in_float64_for_all_bytes() -> None:
    first, second = torch.arange(256.0, dtype=torch.float64), torch.arange(256.0)[:, None].double()
    parts = torch.rand(60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shares = _shares(parts)
    assert shares.dtype == torch.float32
    for part, share in zip(parts, shares, strict=True):
        exact = first.lerp(second, part)
        assert torch.equal(first.float().lerp(second.float(), share).int(), exact.int())


def test_a_share_that_is_a_fraction_of_bytes_stays_in_float64() -> None:
    parts = torch.tensor([0.3141, 2 / 7], dtype=torch.float64)
    assert _shares(parts) is parts
