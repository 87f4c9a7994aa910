"""Losses and divergences of distributions against their definitions, at extremes too."""

from collections.abc import Callable

import pytest
import torch
from oracles import augmax as augmax_oracle
from oracles import features as oracle
from torch import Tensor
from torch.nn import functional as F

from vicinal.losses import (
    LOSSES,
    binary_cross_entropy,
    clamped_binary_cross_entropy,
    cross_entropy,
    jensen_shannon,
    kl_divergence,
)


@pytest.mark.parametrize(
    ("name", "literal"),
    [("ce", oracle.cross_entropy), ("bce", oracle.binary_cross_entropy)],
)
def test_losses_equal_their_sums(name: str, literal: object) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(9, 6, generator=generator, dtype=torch.float64)
    targets = torch.rand(9, 6, generator=generator, dtype=torch.float64).softmax(1)
    expected = [literal(z, y) for z, y in zip(logits.tolist(), targets.tolist(), strict=True)]
    torch.testing.assert_close(LOSSES[name](logits, targets), torch.tensor(expected).double())


def test_binary_cross_entropy_is_torchs_on_the_softmax() -> None:
    logits = torch.randn(9, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = F.one_hot(torch.arange(9) % 6, 6).double()
    expected = F.binary_cross_entropy(logits.softmax(1), targets, reduction="none").mean(1)
    torch.testing.assert_close(binary_cross_entropy(logits, targets), expected)


def test_binary_cross_entropy_survives_certainty() -> None:
    """Where p is 1 to machine precision, 1 - p is still known, and so is the gradient."""
    logits = torch.tensor([[200.0, 0.0, 0.0], [0.0, 40.0, 39.0]], requires_grad=True)
    targets = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])
    loss = binary_cross_entropy(logits, targets)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    exact = logits.detach().double().requires_grad_()
    expected = binary_cross_entropy(exact, targets.double())
    (true,) = torch.autograd.grad(expected.sum(), exact)
    assert loss.isfinite().all()
    # - log p_1 - log(1 - p_0) = 200 + (200 - log 2), over three classes.
    assert expected[0].item() == pytest.approx((400 - torch.tensor(2.0).log().item()) / 3)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient.double(), true, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lead", [3.0, 10.0, 20.0, 25.0, 120.0])
def test_clamped_binary_cross_entropy_is_that_of_rounded_probabilities(lead: float) -> None:
    """A wrong class leads; by 20 its p is 1 in float32, and by 120 the others' are 0."""
    logits = torch.zeros(1, 10)
    logits[0, 3] = lead
    logits.requires_grad_()
    targets = torch.zeros(1, 10)
    targets[0, 7], targets[0, 1] = 0.6, 0.4
    loss = clamped_binary_cross_entropy(logits, targets)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    p = logits.detach().softmax(1)[0].tolist()
    expected, slope = oracle.clamped_binary_cross_entropy(p, targets[0].tolist())
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    rest = [k for k in range(10) if k != 3]  # the winner's is a difference of near equals
    torch.testing.assert_close(gradient[0, rest], torch.tensor(slope)[rest], rtol=1e-4, atol=1e-6)


def test_the_binary_cross_entropies_part_where_the_softmax_rounds_to_one() -> None:
    """One class leads nine by 20, of which one is wanted."""

    def wanted(loss: Callable[[Tensor, Tensor], Tensor], lead: float) -> float:
        logits = torch.zeros(1, 10)
        logits[0, 3] = lead
        logits.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(logits, targets).sum(), logits)
        return gradient[0, 7].item()

    targets = F.one_hot(torch.tensor([7]), 10).float()
    exact, clamped = binary_cross_entropy, clamped_binary_cross_entropy
    assert wanted(clamped, 7.0) == pytest.approx(wanted(exact, 7.0), rel=1e-3)
    assert wanted(clamped, 20.0) < 1000 * wanted(exact, 20.0) < 0


def test_the_clamped_loss_is_taken_in_float32_under_autocast() -> None:
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    targets = F.one_hot(torch.arange(4), 6).float()
    alone = clamped_binary_cross_entropy(logits, targets)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(clamped_binary_cross_entropy(logits, targets), alone)


def test_kl_and_the_soft_cross_entropy_have_one_gradient() -> None:
    z = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    q = torch.randn(6, 5, dtype=torch.float64).softmax(1)
    q[0] = torch.tensor([1.0, 0, 0, 0, 0])  # zeros are no trouble
    kl, ce = kl_divergence(z, q), cross_entropy(z, q)
    torch.testing.assert_close(ce - kl, -torch.special.xlogy(q, q).sum(1))
    torch.testing.assert_close(
        torch.autograd.grad(kl.sum(), z)[0], torch.autograd.grad(ce.sum(), z)[0]
    )
    torch.testing.assert_close(kl_divergence(q.log(), q)[1:], torch.zeros(5, dtype=q.dtype))


@pytest.mark.parametrize("count", [2, 3])
def test_jensen_shannon_equals_its_definition_and_its_bounds(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(9, 5, generator=generator).double() * 3 for _ in range(count)]
    ours = jensen_shannon(views)
    for i in range(9):
        expected = augmax_oracle.jensen_shannon([view[i].tolist() for view in views])
        torch.testing.assert_close(ours[i].item(), expected)
    assert jensen_shannon(views[:1] * count).abs().max() < 1e-12
    apart = [torch.eye(5)[k : k + 1].double() * 1e4 for k in range(count)]
    most = jensen_shannon(apart)  # disjoint, and one-hot to machine precision
    torch.testing.assert_close(most.exp(), torch.full_like(most, count))
    assert (ours < torch.tensor(count).log()).all()


def test_jensen_shannons_gradient_is_finite_where_a_probability_underflows() -> None:
    views = [torch.tensor([[0.0, 300.0]], requires_grad=True), torch.tensor([[0.0, 400.0]])]
    (gradient,) = torch.autograd.grad(jensen_shannon(views).sum(), views[0])
    assert gradient.isfinite().all()
