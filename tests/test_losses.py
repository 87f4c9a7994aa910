"""The losses of samples whose targets are distributions."""

import pytest
import torch
from oracles import features as oracle
from torch.nn import functional as F

from vicinal.losses import LOSSES, binary_cross_entropy


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
