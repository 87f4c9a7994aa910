"""Auto-PGD against its loop over single images, the authors' code, and what it promises."""

from itertools import pairwise
from math import inf
from typing import Any

import pytest
import torch
from attack_samples import right, trained
from evaluation_samples import data, network, unchanged
from oracles import apgd as oracle
from torch.nn import functional as F
from wording import says

from vicinal.attacks.apgd import Apgd
from vicinal.attacks.pgd import Pgd
from vicinal.attacks.threat import Norm, Threat
from vicinal.data.split import Split
from vicinal.draws import Rng

NORMS = [("linf", 0.04), ("l2", 0.3)]


def rows(count: int) -> list[int]:
    return list(range(count))


@pytest.mark.parametrize(("norm", "epsilon"), NORMS)
@pytest.mark.parametrize(("steps", "rho"), [(1, 0.75), (13, 0.75), (40, 0.75), (40, 0.5)])
def test_apgd_equals_algorithm_1(norm: Norm, epsilon: float, steps: int, rho: float) -> None:
    model, x, y = trained()
    x, y = x[:8], y[:8]
    ours = Apgd(Threat(epsilon, norm), steps, rho)(model, x, y, Rng.seeded(0))
    rng = Rng.seeded(0)
    draws = 2 * rng.uniform_like(x) - 1 if norm == "linf" else rng.normal_like(x)
    settings = {"epsilon": epsilon, "norm": norm, "steps": steps, "rho": rho}
    for i in range(8):
        start = oracle.start(draws[i], x[i], epsilon, norm)
        expected = oracle.apgd(model, x[i], int(y[i].argmax()), start, **settings)
        torch.testing.assert_close(ours[i], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("norm", "epsilon"), NORMS)
def test_it_finds_what_the_authors_code_finds(norm: Norm, epsilon: float) -> None:
    pytest.importorskip("autoattack")
    from autoattack.autopgd_base import APGDAttack  # noqa: PLC0415  # pyright: ignore

    model, x, y = trained()
    rng = Rng.seeded(0)
    draws = 2 * rng.uniform_like(x) - 1 if norm == "linf" else rng.normal_like(x)
    start = torch.stack(
        [oracle.start(draw, image, epsilon, norm) for draw, image in zip(draws, x, strict=True)]
    )
    name = {"linf": "Linf", "l2": "L2"}[norm]
    theirs = APGDAttack(model, n_iter=60, norm=name, eps=epsilon, device="cpu")
    theirs.init_hyperparam(x)
    _, stands, _, missed = theirs.attack_single_run(x, y.argmax(1), x_init=start)
    ours = Apgd(Threat(epsilon, norm), 60)(model, x, y, Rng.seeded(0))
    expected = torch.where(stands.bool().view(-1, 1, 1, 1), x, missed)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("norm", "epsilon"), NORMS)
def test_it_stays_in_the_ball_and_in_the_cube(norm: Norm, epsilon: float) -> None:
    model, x, y = trained()
    x = x.clone()
    x[0], x[1] = 0, 1  # where the cube's faces bind
    found = Apgd(Threat(epsilon, norm), 20)(model, x, y, Rng.seeded(0))
    shift = (found - x).flatten(1)
    lengths = shift.abs().amax(1) if norm == "linf" else shift.norm(dim=1)
    assert lengths.max() <= epsilon + 1e-12
    assert lengths.max() > 0.9 * epsilon
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_larger_ball_leaves_fewer_images_right(norm: Norm) -> None:
    model, x, y = trained()
    largest = {"linf": 0.16, "l2": 1.2}[norm]
    standing = []
    for share in (0, 0.125, 0.25, 0.5, 1):
        found = Apgd(Threat(share * largest, norm), 20)(model, x, y, Rng.seeded(0))
        standing.append(right(model, found, y).sum().item())
    assert standing[0] == right(model, x, y).sum()
    assert standing[-1] == 0
    for smaller, larger in pairwise(standing):
        assert larger <= smaller
    assert len(set(standing)) > 3


def test_it_leaves_no_more_images_right_than_pgd() -> None:
    model, x, y = trained()
    threat = Threat(0.04)
    pgd = right(model, Pgd(threat, 0.25, 10)(model, x, y, Rng.seeded(0)), y).sum()
    apgd = right(model, Apgd(threat, 50)(model, x, y, Rng.seeded(0)), y).sum()
    assert 0 < apgd <= pgd


def test_an_image_that_withstands_is_returned_as_it_was() -> None:
    model, x, y = trained()
    found = Apgd(Threat(0.03), 20)(model, x, y, Rng.seeded(0))
    stands = right(model, found, y)
    assert 0 < stands.sum() < len(x)
    assert torch.equal(found[stands], x[stands])
    assert ((found - x).flatten(1).abs().amax(1)[~stands] > 0).all()


@pytest.mark.parametrize(("norm", "epsilon"), NORMS)
def test_a_sample_alone_gets_the_same_image(norm: Norm, epsilon: float) -> None:
    model, x, y = trained()
    attack, rng = Apgd(Threat(epsilon, norm), 25), Rng.seeded(0)
    together = attack(model, x[:6], y[:6], rng.of_rows(rows(6)))
    for i in range(6):
        alone = attack(model, x[[i]], y[[i]], rng.of_rows([i]))
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-12)


@pytest.mark.parametrize("outside", [torch.no_grad, torch.enable_grad])
def test_it_leaves_the_network_the_images_and_the_generators_of_torch_alone(outside: type) -> None:
    model, samples = network(), data(6).test
    assert isinstance(samples, Split)
    x, y = samples.x.float() / 255, F.one_hot(samples.y, 4).float()
    inputs, state = x.clone(), torch.get_rng_state()
    with unchanged(model), outside():
        found = Apgd(Threat(0.03), 3)(model, x, y, Rng.seeded(0))
    assert not found.requires_grad
    assert torch.equal(x, inputs)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threat": Threat(inf)}, "^threat.epsilon ... finite ... inf"),
        ({"steps": 0}, "^steps ... 1 ... 0"),
        ({"rho": -0.5}, "^rho ... 0 to 1 ... -0.5"),
        ({"rho": 1.5}, "^rho ... 0 to 1 ... 1.5"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=says(message)):
        Apgd(**{"threat": Threat(0.1)} | settings)
