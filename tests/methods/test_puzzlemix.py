"""Puzzle Mix: the energy, its minimum, the transport and the mixed batch, each against loops."""

from itertools import product
from typing import Any

import pytest
import torch
from oracles import puzzle as oracle
from oracles.attacks import input_gradient
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.draws import Rng, beta, permutation
from vicinal.losses import binary_cross_entropy, cross_entropy
from vicinal.methods import puzzle
from vicinal.methods.puzzlemix import PuzzleMix
from vicinal.vicinities.gaussian_noise import GaussianNoise
from vicinal.vicinities.identity import Identity

SETTINGS: dict[str, Any] = {"eta": 0.2, "beta": 1.2, "gamma": 0.5}
STRONG: dict[str, Any] = {"eta": 0.9, "beta": 20.0, "gamma": 1.0}


def network(classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    norm.running_mean.normal_()
    layers = [nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(16, classes)).double()


def batch(count: int = 5, side: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, 3, side, side, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.randint(5, (count,), generator=generator), 5).double()


def spiky(count: int = 5, side: int = 8) -> Tensor:
    """Saliency that is worth moving."""
    generator = torch.Generator().manual_seed(2)
    return torch.rand(count, side, side, generator=generator, dtype=torch.float64) ** 6


PARTNER = torch.tensor([3, 0, 2, 4, 1])


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


def test_where_all_is_shown_or_moving_is_dear_nothing_moves() -> None:
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


WHOLE = [{}, {"transport": False}, {"t_size": -1}, {"t_size": 2}]


@pytest.mark.parametrize("settings", WHOLE, ids=repr)
def test_puzzlemix_equals_its_loops(settings: dict[str, Any]) -> None:
    """From the network's saliency to the loss, every step a loop and every labelling tried."""
    x, y = batch()
    small = {"blocks": [2], "neigh_size": 2, "t_eps": 0.1}
    method = PuzzleMix(Identity(), **{**small, "t_size": 4, **settings})
    (ours,) = method(network(), x, y, Rng.seeded(0))

    rng = Rng.seeded(0)
    lam = beta(1.0, 1, rng).item()
    partner = permutation(5, rng, x.device).tolist()
    judge = network().eval()
    gradients = [input_gradient(judge, x[n], int(y[n].argmax()))[0] for n in range(5)]
    saliency = [gradient.square().mean(dim=0).sqrt() for gradient in gradients]
    images, targets = [], []
    for n, j in enumerate(partner):
        shares = [oracle.shares(saliency[i], 2) for i in (j, n)]
        every = oracle.labellings(2, 3)
        contrasts = oracle.contrasts((x[j], x[n]), 2, 2)
        drawn = {"n_labels": 3, "lam": lam, **SETTINGS}
        energies = [oracle.energy(z, contrasts, shares, **drawn) for z in every]
        z = [[label / 2 for label in row] for row in every[energies.index(min(energies))]]
        own, other = x[n], x[j]
        if method.transport:
            moved = 4 if method.t_size == 2 else 2
            shown = oracle.spread(z, moved // 2)
            hidden = [[1 - value for value in row] for row in shown]
            won = oracle.transport(shown, oracle.shares(saliency[n], moved), 0.1)
            lost = oracle.transport(hidden, oracle.shares(saliency[j], moved), 0.1)
            own, other = oracle.rearranged(own, won, moved), oracle.rearranged(other, lost, moved)
        image, share = oracle.mixed(own, other, z)
        images.append(image)
        targets.append(share * y[n] + (1 - share) * y[j])
    expected = binary_cross_entropy(network()(torch.stack(images)), torch.stack(targets)).mean()
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"transport": False}, {"t_size": -1}], ids=repr)
@pytest.mark.parametrize("blocks", [2, 4, 8])
def test_labels_weigh_as_much_as_pixels_wherever_blocks_were_moved(
    blocks: int, settings: dict[str, Any]
) -> None:
    """Of constant images, each another, the mixture's mean tells how much of it is whose."""
    method = PuzzleMix(Identity(), eta=0.02, t_eps=0.01, neigh_size=1, **settings)
    x, _ = batch(5, 16)
    z = method._mask(x, spiky(5, 16), PARTNER, blocks, 0.6)
    shade = torch.arange(5).double().view(-1, 1, 1, 1) / 5
    mixed, share = method._mixed(shade.expand(5, 3, 16, 16), spiky(5, 16), PARTNER, z)
    own, other = shade.flatten(), shade.flatten()[PARTNER]
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), share * own + (1 - share) * other)
    assert len(share.unique()) > 1


@pytest.mark.parametrize("n_labels", [2, 3, 5])
def test_masks_take_the_values_that_there_are_and_targets_sum_to_1(n_labels: int) -> None:
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


def test_alpha_0_is_a_lambda_of_1() -> None:
    x, y = batch()
    (ours,) = PuzzleMix(Identity(), alpha=0, eta=1e6, loss="ce")(network(), x, y, Rng.seeded(0))
    assert torch.equal(ours, cross_entropy(network()(x), y).mean())


def test_the_number_of_blocks_is_drawn_among_those_that_fit_and_alike_on_all_ranks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = PuzzleMix(Identity(), neigh_size=1, t_size=1)
    assert method._fitting(torch.zeros(1, 3, 8, 8)) == [2, 4, 8]
    assert method._fitting(torch.zeros(1, 3, 32, 32)) == [2, 4, 8, 16]
    drawn: list[int] = []

    def mask(*given: Any) -> Tensor:
        drawn.append(given[4])
        return torch.ones(2, given[4], given[4], dtype=torch.float64)

    monkeypatch.setattr(PuzzleMix, "_mask", mask)
    x, y = batch(2, 16)
    for rank in (0, 1):
        rng = Rng.seeded(0, rank=rank)
        for _ in range(40):
            list(method(network(), x, y, rng))
    assert drawn[:40] == drawn[40:]
    assert all(3 <= drawn[:40].count(blocks) <= 18 for blocks in (2, 4, 8, 16))


def test_the_saliency_pass_leaves_the_network_alone() -> None:
    x, y = batch()
    model, twin = network(), network()
    (loss,) = PuzzleMix(Identity())(model, x, y, Rng.seeded(0))
    assert all(p.grad is None for p in model.parameters())
    assert all(m.training for m in model.modules())
    assert int(model[1].num_batches_tracked) == 1
    assert loss.requires_grad
    list(PuzzleMix(Identity())(twin.requires_grad_(False), x, y, Rng.seeded(0)))


@pytest.mark.parametrize(("loss", "scale"), [("bce", 2 / 5), ("ce", 1.0)])
def test_clean_lam_trains_on_the_unmixed_images_too(loss: str, scale: float) -> None:
    x, y = batch()
    model = network()
    clean, mixed = PuzzleMix(Identity(), clean_lam=0.7, loss=loss)(model, x, y, Rng.seeded(0))
    torch.testing.assert_close(clean, 0.7 * scale * cross_entropy(network()(x), y).mean())
    assert int(model[1].num_batches_tracked) == 2
    gradient = torch.autograd.grad(clean + mixed, list(model.parameters()))
    assert all(part.any() for part in gradient)


def test_images_without_a_gradient_are_mixed_all_the_same() -> None:
    x, y = batch()
    model = network()
    with torch.no_grad():
        model[-1].weight.zero_()
    (loss,) = PuzzleMix(Identity(), neigh_size=1)(model, x, y, Rng.seeded(0))
    assert loss.isfinite()


def test_a_vicinity_comes_first() -> None:
    x, y = batch()
    noise = GaussianNoise(sigma=0.1)
    (ours,) = PuzzleMix(noise)(network(), x, y, Rng.seeded(0))
    rng = Rng.seeded(0)
    (expected,) = PuzzleMix(Identity())(network(), *noise(x, y, rng), rng)
    assert torch.equal(ours, expected)


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((2, 7), {}, "inputs ... square ... (2, 7)"),
        ((2, 3, 8, 6), {}, "inputs ... square ... (2, 3, 8, 6)"),
        ((2, 3, 9, 9), {}, "blocks ... neigh_size ... t_size ... 2 ... 9"),
        ((2, 3, 12, 12), {"blocks": [2]}, "blocks ... neigh_size ... 12 ... 4"),
        ((2, 3, 8, 8), {"blocks": [16]}, "blocks ... 8 ... [16]"),
    ],
    ids=repr,
)
def test_what_cannot_be_cut_into_blocks_is_refused(
    shape: tuple[int, ...], settings: dict[str, Any], message: str
) -> None:
    y = torch.eye(2)
    with pytest.raises(ValueError, match=says(f"^{message}")):
        next(PuzzleMix(Identity(), **settings)(network(2), torch.rand(shape), y, Rng.seeded(0)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -1}, "alpha ... 0 ... -1"),
        ({"n_labels": 1}, "n_labels ... 2 ... 1"),
        ({"gamma": 1.1}, "gamma ... 0 ... 1 ... 1.1"),
        ({"neigh_size": 0}, "neigh_size ... 1 ... 0"),
        ({"t_eps": 0}, "t_eps ... 0"),
        ({"t_size": 0}, "t_size ... 1 ... 0"),
        ({"blocks": [1]}, "blocks ... 2 ... [1]"),
        ({"blocks": []}, "blocks ... 2 ... []"),
    ],
    ids=repr,
)
def test_settings_without_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=says(f"^{message}")):
        PuzzleMix(Identity(), **settings)
