"""Puzzle Mix's transport: which block is shown where, against Alg. 1 of its paper."""

from typing import Any

import pytest
import torch
from oracles import puzzle as oracle
from puzzle_samples import PARTNER, batch, spiky

from vicinal.methods import puzzle
from vicinal.methods.puzzlemix import PuzzleMix
from vicinal.vicinities.identity import Identity


@pytest.mark.parametrize("t_eps", [0.01, 0.05, 0.8])
@pytest.mark.parametrize("blocks", [2, 4])
def test_transport_equals_algorithm_1(blocks: int, t_eps: float) -> None:
    saliency = spiky(20)
    generator = torch.Generator().manual_seed(3)
    z = torch.randint(3, (20, blocks, blocks), generator=generator).double() / 2
    ours = puzzle.transported(z, puzzle.block_shares(saliency, blocks), t_eps)
    for n in range(20):
        won = oracle.transport(z[n].tolist(), oracle.shares(saliency[n], blocks), t_eps)
        shown = [place for place in range(blocks**2) if z[n].flatten()[place] > 0]
        assert {place: ours[n, place].item() for place in shown} == {
            place: won.index(place) for place in shown
        }


def test_what_is_shown_is_shown_once_and_is_at_least_as_salient_as_what_was_there() -> None:
    saliency = spiky(50, 16)
    z = torch.randint(3, (50, 8, 8), generator=torch.Generator().manual_seed(3)).double() / 2
    shares = puzzle.block_shares(saliency, 8).flatten(1)
    source = puzzle.transported(z, shares.view(50, 8, 8), 0.05)
    shown = z.flatten(1) > 0
    moved = 0
    for n in range(50):
        blocks = source[n][shown[n]]
        assert len(blocks.unique()) == len(blocks)
        assert (shares[n][blocks] >= shares[n][shown[n]]).all()
        moved += (blocks != shown[n].nonzero()[:, 0]).sum().item()
    assert moved > 100


def test_nothing_moves_where_everything_is_shown_or_moving_costs_too_much() -> None:
    shares = puzzle.block_shares(spiky(), 4)
    still = torch.arange(16).expand(5, -1)
    assert torch.equal(puzzle.transported(torch.ones_like(shares), shares, 0.1), still)
    mask = (shares > shares.median()).double()
    assert torch.equal(puzzle.transported(mask, shares, 100.0), still)


def test_blocks_are_rearranged_as_in_the_loop() -> None:
    x, _ = batch()
    source = torch.rand(5, 16, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    for layout in (torch.contiguous_format, torch.channels_last):
        ours = puzzle.rearranged(x.to(memory_format=layout), source)
        assert ours.is_contiguous(memory_format=layout)
        for n in range(5):
            assert torch.equal(ours[n], oracle.rearranged(x[n], source[n].argsort().tolist(), 4))


@pytest.mark.parametrize("settings", [{}, {"transport": False}, {"t_size": -1}], ids=repr)
@pytest.mark.parametrize("blocks", [2, 4, 8])
def test_labels_weigh_as_much_as_pixels_wherever_blocks_were_moved(
    blocks: int, settings: dict[str, Any]
) -> None:
    """Constant images of different shades: the mean of a mixture tells the share of each."""
    method = PuzzleMix(Identity(), eta=0.02, t_eps=0.01, neigh_size=1, **settings)
    x, _ = batch(5, 16)
    z = method._mask(x, spiky(5, 16), PARTNER, blocks, 0.6)
    shade = torch.arange(5).double().view(-1, 1, 1, 1) / 5
    mixed, share = method._mixed(shade.expand(5, 3, 16, 16), spiky(5, 16), PARTNER, z)
    own, other = shade.flatten(), shade.flatten()[PARTNER]
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), share * own + (1 - share) * other)
    assert len(share.unique()) > 1
