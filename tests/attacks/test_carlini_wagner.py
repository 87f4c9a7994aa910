"""Carlini and Wagner's attack against its loop and foolbox."""

from math import inf

import pytest
import torch
from oracles.carlini_wagner import carlini_wagner
from smallest_samples import batch, beside_foolbox, frozen, network

from vicinal.attacks.carlini_wagner import CarliniWagner
from vicinal.attacks.threat import Threat
from vicinal.draws import Rng


@pytest.mark.parametrize("confidence", [0.0, 1.0])
@pytest.mark.parametrize("searches", [4, 10])
def test_it_equals_its_loop(searches: int, confidence: float) -> None:
    """At a first c that is too small for some images and large enough for others."""
    x, y = batch(5)
    settings = {"steps": 20, "stepsize": 0.1, "confidence": confidence, "initial_const": 0.3}
    attack = CarliniWagner(Threat(None, "l2"), searches, **settings)
    ours = attack(network(), x, y, Rng.seeded(0))
    model = frozen()
    with torch.no_grad():
        left = model(x[-1:])[0] + confidence * y[-1]
    assert left.argmax() != y[-1].argmax()
    assert torch.equal(ours[-1], x[-1])
    for image, label, found in zip(x[:-1], y.argmax(1).tolist(), ours, strict=False):
        expected = carlini_wagner(model, image, label, searches=searches, **settings)
        assert not torch.equal(expected, image)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_with_confidence_the_wrong_logit_leads_by_that_much() -> None:
    x, y = batch(6)
    attack = CarliniWagner(Threat(None, "l2"), 3, 40, 0.05, confidence=2.0, initial_const=1.0)
    with torch.no_grad():
        logits = frozen()(attack(network(), x, y, Rng.seeded(0)))
    true = (logits * y).sum(1)
    largest = logits.masked_fill(y.bool(), -inf).amax(1)
    assert (largest - true > 2).all()
    assert (largest - true)[:-1].max() < 3


def test_a_search_that_finds_nothing_leaves_the_image() -> None:
    x, y = batch(4)
    attack = CarliniWagner(Threat(None, "l2"), 1, 3, initial_const=1e-3)
    assert torch.equal(attack(network(), x, y, Rng.seeded(0)), x)


@pytest.mark.parametrize("epsilon", [None, 0.4])
@pytest.mark.filterwarnings("ignore:Please import `gaussian_filter`:DeprecationWarning")
def test_it_is_foolboxs(epsilon: float) -> None:
    """Without its data-dependent stop; what it finds for a missed image is off by its 1e-6."""
    foolbox = pytest.importorskip("foolbox")
    settings = {"binary_search_steps": 5, "steps": 40, "stepsize": 0.05, "initial_const": 0.1}
    theirs = foolbox.attacks.L2CarliniWagnerAttack(**settings, abort_early=False)
    beside_foolbox(CarliniWagner(Threat(epsilon, "l2"), **settings), theirs, atol=5e-6)
