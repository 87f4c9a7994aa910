"""The spatial attack and the accuracy under it, against one image and one draw at a time."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from evaluation_samples import data, network
from oracles import spatial as oracle
from torch.nn import functional as F
from wording import says

from vicinal.attacks.affine import WorstAffine
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.errors import RunError
from vicinal.evaluation.spatial import Spatial


def test_an_image_counts_if_its_draw_with_the_highest_loss_is_right() -> None:
    model, samples, evaluation = network().eval(), data(40, 16), Spatial(draws=4, first=15)
    found = evaluation(model, samples, Rng.seeded(2))
    assert isinstance(samples.test, Split)
    moves = WorstAffine(4).drawn(40, 16, 16, Rng.seeded(2).fork("moves")).tolist()
    hits = []
    for image, label, own in zip(samples.test.x, samples.test.y.tolist(), moves, strict=True):
        x = oracle.worst(model, image, label, own)
        hits.append(int(model(x[None]).argmax()) == label)
    assert 0 < sum(hits) < 40
    expected = {"top1": 100 * sum(hits) / 40, "first_15_top1": 100 * sum(hits[:15]) / 15}
    assert found == pytest.approx(expected)


def test_the_attack_returns_the_worst_draw_itself() -> None:
    model, samples = network().eval(), data(12, 16).test
    assert isinstance(samples, Split)
    x, y = samples.x.float() / 255, F.one_hot(samples.y, 4).float()
    ours = WorstAffine(6, degrees=90.0, shift=0.3)(model, x, y, Rng.seeded(1))
    moves = WorstAffine(6, degrees=90.0, shift=0.3).drawn(12, 16, 16, Rng.seeded(1)).tolist()
    for i in range(12):
        expected = oracle.worst(model, samples.x[i], int(samples.y[i]), moves[i])
        assert torch.equal(ours[i], expected)


def test_the_attack_never_lowers_the_loss_below_that_of_its_draws() -> None:
    """With one draw it is that draw; more draws only raise the loss."""
    model, samples = network().eval(), data(30, 16).test
    assert isinstance(samples, Split)
    x, y = samples.x.float() / 255, F.one_hot(samples.y, 4).float()
    moves = WorstAffine(8).drawn(30, 16, 16, Rng.seeded(0))
    losses = []
    for draws in (1, 2, 4, 8):
        worst = WorstAffine(draws).worst(model, x, y, moves[:, :draws])
        losses.append(F.cross_entropy(model(worst), y, reduction="none"))
    for fewer, more in pairwise(losses):
        assert (more >= fewer).all()
        assert (more > fewer).any()


def test_draws_have_random_affines_distributions() -> None:
    """Shifts are rounded, so ±3 of 32 pixels are half as likely as each of the others."""
    moves = WorstAffine(10).drawn(4000, 32, 64, Rng.seeded(0)).flatten(0, 1)
    degrees, right, down = moves.T
    assert 29.9 < degrees.abs().max() <= 30
    assert abs(degrees.mean()) < 5 * 30 / (3 * 40_000) ** 0.5
    for shifts, most in ((right, 6), (down, 3)):
        share = torch.bincount((shifts + most).long(), minlength=2 * most + 1) / 40_000
        expected = torch.full((2 * most + 1,), 1 / (2 * most))
        expected[[0, -1]] /= 2
        assert (share - expected).abs().max() < 5 * (0.25 / 40_000) ** 0.5
        assert torch.equal(shifts, shifts.round())


def test_the_first_images_are_measured_as_if_there_were_no_others() -> None:
    samples = data(50)
    found = Spatial(draws=3, first=20, batch_size=50)(network(), samples, Rng.seeded(0))
    fewer = replace(samples, test=samples.test[torch.arange(20)])
    alone = Spatial(draws=3, first=20, batch_size=20)(network(), fewer, Rng.seeded(0))
    assert alone == {"top1": found["first_20_top1"]}


def test_no_first_images_are_reported_where_none_are_asked_for() -> None:
    assert set(Spatial(draws=1, first=None)(network(), data(8), Rng.seeded(0))) == {"top1"}


def test_vectors_are_refused() -> None:
    vectors = Split(torch.zeros(3, 5), torch.zeros(3).long())
    with pytest.raises(RunError, match=says("^dataset ... images ... (5,)")):
        Spatial()(network(), replace(data(8), test=vectors), Rng.seeded(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": 0}, "^draws ... 1 ... 0"),
        ({"degrees": 181.0}, "^degrees ... 0 to 180 ... 181.0"),
        ({"shift": 1.5}, "^shift ... 0 to 1 ... 1.5"),
        ({"first": 0}, "^first ... 1 ... 0"),
        ({"batch_size": 0}, "^batch_size ... 1 ... 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=says(message)):
        Spatial(**settings)  # pyright: ignore[reportArgumentType]
