"""Puzzle Mix from the network's saliency to the loss, against loops."""

from typing import Any

import pytest
import torch
from oracles import puzzle as oracle
from oracles.attacks import input_gradient
from puzzle_samples import SETTINGS, batch
from torch import Tensor, nn
from wording import says

from vicinal.draws import Rng, beta, permutation
from vicinal.losses import binary_cross_entropy, cross_entropy
from vicinal.methods.puzzlemix import PuzzleMix
from vicinal.vicinities.gaussian_noise import GaussianNoise
from vicinal.vicinities.identity import Identity


def network(classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    norm.running_mean.normal_()
    layers = [nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(16, classes)).double()


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


def test_alpha_0_is_a_lambda_of_1() -> None:
    x, y = batch()
    (ours,) = PuzzleMix(Identity(), alpha=0, eta=1e6, loss="ce")(network(), x, y, Rng.seeded(0))
    assert torch.equal(ours, cross_entropy(network()(x), y).mean())


def test_the_number_of_blocks_is_drawn_among_those_that_fit_and_is_the_same_on_all_ranks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = PuzzleMix(Identity(), neigh_size=1, t_size=1)
    assert method._fitting(torch.zeros(1, 3, 8, 8)) == [2, 4, 8]
    assert method._fitting(torch.zeros(1, 3, 32, 32)) == [2, 4, 8, 16]
    on_imagenet = PuzzleMix(Identity(), neigh_size=2, t_size=-1)
    assert on_imagenet._fitting(torch.zeros(1, 3, 224, 224)) == [2, 4, 8, 16]
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


def test_images_without_a_gradient_are_still_mixed() -> None:
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
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=says(f"^{message}")):
        PuzzleMix(Identity(), **settings)
