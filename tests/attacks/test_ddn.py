"""DDN against Algorithm 1 and foolbox."""

import pytest
import torch
from oracles.ddn import ddn
from smallest_samples import batch, beside_foolbox, frozen, network, norms
from torch import nn

from vicinal.attacks.ddn import Ddn
from vicinal.attacks.threat import Threat
from vicinal.draws import Rng


@pytest.mark.parametrize("gamma", [0.05, 0.3])
def test_ddn_equals_algorithm_1(gamma: float) -> None:
    x, y = batch(8)
    settings = {"steps": 15, "gamma": gamma, "init_epsilon": 0.5}
    ours = Ddn(Threat(None, "l2"), **settings)(network(), x, y, Rng.seeded(0))
    model = frozen()
    for image, label, found in zip(x, y.argmax(1).tolist(), ours, strict=True):
        expected = ddn(model, image, label, **settings)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_of_an_affine_network_it_nears_the_boundary() -> None:
    """Its last steps change the radius by γ, so that the distance is |f| / ||w|| and at most γ."""
    x, _ = batch(6)
    x = 0.4 + 0.2 * x
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double()
    with torch.no_grad():
        y = torch.eye(2).double()[model(x).argmax(1)]
        margin = model(x).diff(dim=1).abs().flatten()
    nearest = margin / model[1].weight.detach().diff(dim=0).norm()
    found = norms(Ddn(Threat(None, "l2"))(model, x, y, Rng.seeded(0)) - x, "l2")
    assert (found >= nearest).all()
    assert (found <= 1.05 * nearest).all()


def test_without_a_gradient_it_leaves_along_a_drawn_direction() -> None:
    """A network that is sure of itself has none, in the interior of its class."""
    x, _ = batch(4)
    y = torch.eye(2).double()[torch.zeros(4, dtype=torch.long)]

    class Sure(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            far = (x - start).flatten(1).norm(dim=1) - 0.5
            return torch.stack([0 * far, 1e4 * far.relu()], dim=1)

    start = x
    found = Ddn(Threat(None, "l2"))(Sure(), x, y, Rng.seeded(0))
    assert (norms(found - x, "l2") > 0.5).all()
    assert (norms(found - x, "l2") < 0.55).all()
    other = Ddn(Threat(None, "l2"))(Sure(), x, y, Rng.seeded(1))
    assert not torch.equal(found, other)


@pytest.mark.parametrize("epsilon", [None, 0.4])
@pytest.mark.filterwarnings("ignore:Please import `gaussian_filter`:DeprecationWarning")
def test_ddn_is_foolboxs(epsilon: float | None) -> None:
    """But for foolbox's radii, which are in float32."""
    foolbox = pytest.importorskip("foolbox")
    beside_foolbox(Ddn(Threat(epsilon, "l2")), foolbox.attacks.DDNAttack(), atol=1e-5)
