"""Puzzle Mix's masks: the energy and its minimum, each against loops."""

from itertools import product
from typing import Any

import pytest
import torch
from oracles import puzzle as oracle
from puzzle_samples import PARTNER, SETTINGS, batch, spiky
from torch import Tensor

from vicinal.methods import puzzle
from vicinal.methods.puzzlemix import PuzzleMix
from vicinal.vicinities.identity import Identity

STRONG: dict[str, Any] = {"eta": 0.9, "beta": 20.0, "gamma": 1.0}


@pytest.mark.parametrize(("blocks", "neigh"), [(2, 1), (2, 4), (2, 2), (4, 2), (4, 1), (8, 1)])
def test_contrasts_equal_their_loop(blocks: int, neigh: int) -> None:
    x, _ = batch()
    down, right = puzzle.contrasts(x, PARTNER, blocks, neigh)
    for n, partner in enumerate(PARTNER):
        images = x[partner], x[n]
        for (here, there), i, j in product(oracle.pairs(blocks), (0, 1), (0, 1)):
            expected = oracle.contrast(images[i], images[j], here, there, blocks, neigh)
            ours = (down if here[1] == there[1] else right)[n, i, j, here[0], here[1]]
            assert abs(ours.item() - expected) < 1e-14


@pytest.mark.parametrize("settings", [SETTINGS, STRONG], ids=["defaults", "strong"])
@pytest.mark.parametrize(("blocks", "n_labels"), [(2, 2), (2, 3), (2, 4), (3, 2)])
def test_the_mask_has_the_least_energy_of_all(
    blocks: int, n_labels: int, settings: dict[str, Any]
) -> None:
    x, _ = batch(3, 4 * blocks)
    partner, saliency, lam = torch.tensor([1, 2, 0]), spiky(3, 4 * blocks), 0.35
    method = PuzzleMix(Identity(), n_labels=n_labels, neigh_size=2, **settings)
    z = method._mask(x, saliency, partner, blocks, lam)
    every = oracle.labellings(blocks, n_labels)
    for n, j in enumerate(partner.tolist()):
        shares = [oracle.shares(saliency[i], blocks) for i in (j, n)]
        contrasts = oracle.contrasts((x[j], x[n]), blocks, 2)

        def energy(labels: list[list[int]], *known: Any) -> float:
            return oracle.energy(labels, *known, n_labels=n_labels, lam=lam, **settings)

        energies = [energy(labels, contrasts, shares) for labels in every]
        ours = (z[n] * (n_labels - 1)).round().long().tolist()
        assert energy(ours, contrasts, shares) <= min(energies) + 1e-12


def test_with_two_labels_the_energy_is_the_papers_up_to_a_constant() -> None:
    x, _ = batch(2)
    shares = [oracle.shares(s, 2) for s in spiky(2)]
    contrasts = oracle.contrasts((x[0], x[1]), 2, 2)
    differences = []
    for labels in oracle.labellings(2, 2):
        general = oracle.energy(labels, contrasts, shares, n_labels=2, lam=0.3, **STRONG)
        papers = oracle.energy_of_two(labels, contrasts, shares, lam=0.3, **STRONG)
        differences.append(general - papers)
    assert max(differences) - min(differences) < 1e-12


@pytest.mark.parametrize("n_labels", [2, 3, 4])
def test_one_cut_for_the_batch_minimises_any_energy(n_labels: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def draws(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    unary, down, right = draws(6, 2, 2, n_labels), draws(6, 1, 2), draws(6, 2, 1)
    ours = puzzle.minimal_labels(unary, down, right)
    for n in range(6):

        def energy(labels: list[list[int]], n: int = n) -> float:
            single = sum(unary[n, i, j, labels[i][j]] for i in (0, 1) for j in (0, 1))
            steps = (n_labels - 1) ** 2
            across = sum(right[n, i, 0] * (labels[i][0] - labels[i][1]) ** 2 for i in (0, 1))
            along = sum(down[n, 0, j] * (labels[0][j] - labels[1][j]) ** 2 for j in (0, 1))
            return float(single + (across + along) / steps)

        least = min(map(energy, oracle.labellings(2, n_labels)))
        assert abs(energy(ours[n].tolist()) - least) < 1e-12


@pytest.mark.parametrize("n_labels", [2, 3, 5])
def test_masks_take_only_the_values_of_labels_and_targets_sum_to_1(n_labels: int) -> None:
    x, y = batch(5, 16)
    method = PuzzleMix(Identity(), n_labels=n_labels, eta=0.02)
    z = method._mask(x, spiky(5, 16), PARTNER, 4, 0.5)
    values = set((z * (n_labels - 1)).flatten().tolist())
    assert values <= set(map(float, range(n_labels)))
    assert len(values) > 1
    mixed, share = method._mixed(x, spiky(5, 16), PARTNER, z)
    torch.testing.assert_close(share, z.mean(dim=(1, 2)))
    targets = torch.lerp(y[PARTNER], y, share[:, None])
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(5, dtype=torch.float64))
    assert mixed.min() >= 0
    assert mixed.max() <= 1


@pytest.mark.parametrize(("lam", "whole"), [(1.0, 1.0), (0.0, 0.0)])
def test_a_prior_that_outweighs_all_leaves_one_of_the_two(lam: float, whole: float) -> None:
    x, _ = batch()
    method = PuzzleMix(Identity(), eta=1e6)
    z = method._mask(x, spiky(), PARTNER, 4, lam)
    assert (z == whole).all()
    mixed, share = method._mixed(x, spiky(), PARTNER, z)
    assert torch.equal(mixed, x if whole else x[PARTNER])
    assert (share == whole).all()


def test_without_saliency_to_tell_them_apart_the_prior_sets_the_shares() -> None:
    """Smoothness outweighed, each block takes Bin(2, λ)'s likeliest label."""
    x, _ = batch()
    method = PuzzleMix(Identity(), eta=1.0, beta=0.0)
    for lam, expected in ((0.9, 1.0), (0.5, 0.5), (0.1, 0.0)):
        z = method._mask(x, torch.ones(5, 8, 8).double(), PARTNER, 4, lam)
        assert (z == expected).all()
