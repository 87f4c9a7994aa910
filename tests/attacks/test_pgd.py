"""PGD against its loop, what it promises, and what it leaves alone."""

import pytest
import torch
from oracles import attacks as oracle
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.attacks.pgd import Pgd
from vicinal.draws import Rng


def network() -> nn.Module:
    """With running statistics unlike any batch's, so that the mode of the attack shows."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    layers = [nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.Dropout(0.5), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4 * 3 * 3, 5)).double()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(4, 3, 5, 5, generator=generator, dtype=torch.float64)
    return x, F.one_hot(torch.randint(5, (4,), generator=generator), 5).double()


@pytest.mark.parametrize("random_start", [True, False])
def test_pgd_equals_its_loop(random_start: bool) -> None:
    x, y = batch()
    model = network()
    settings = {"epsilon": 0.1, "step": 0.03, "steps": 5}
    starts = x
    if random_start:
        shift = torch.empty_like(x).uniform_(-0.1, 0.1, generator=Rng.seeded(0).device)
        starts = (x + shift).clamp(0, 1)
    ours = Pgd(**settings, random_start=random_start)(model, x, y, Rng.seeded(0))
    expected = oracle.pgd(network().eval(), x, y, starts, **settings)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-15)


def test_it_stays_in_the_ball_and_in_the_cube_and_raises_the_loss() -> None:
    x, y = batch()
    x[0], x[1] = 0, 1  # where the cube's faces bind
    model = network()
    found = Pgd(epsilon=8 / 255, step=2 / 255, steps=7)(model, x, y, Rng.seeded(0))
    assert (found - x).abs().max() <= 8 / 255 + 1e-15
    assert found.min() >= 0
    assert found.max() <= 1
    model.eval()
    assert (oracle.loss(model, found, y) > oracle.loss(model, x, y)).all()


def test_of_a_linear_network_it_finds_the_worst_image() -> None:
    """CE of two classes rises along one direction: its maximum is a corner of ball and cube."""
    x, _ = batch()
    y = F.one_hot(torch.tensor([0, 1, 0, 1]), 2).double()
    model = nn.Sequential(nn.Flatten(), nn.Linear(75, 2, bias=False)).double()
    weight = model[1].weight.detach()
    up = (weight[1] - weight[0]).view(3, 5, 5).sign() * torch.tensor([1.0, -1, 1, -1]).view(
        4, 1, 1, 1
    )
    found = Pgd(epsilon=0.1, step=0.05, steps=5)(model, x, y, Rng.seeded(0))
    torch.testing.assert_close(found, (x + 0.1 * up).clamp(0, 1), rtol=0, atol=1e-15)


def test_of_no_radius_it_is_the_image_itself() -> None:
    x, y = batch()
    assert torch.equal(Pgd(epsilon=0, step=0.1, steps=3)(network(), x, y, Rng.seeded(0)), x)


def test_a_sample_is_attacked_regardless_of_its_company() -> None:
    x, y = batch()
    model = network()
    settings = {"epsilon": 0.1, "step": 0.03, "steps": 4, "random_start": False}
    together = Pgd(**settings)(model, x, y, Rng.seeded(0))
    alone = [Pgd(**settings)(model, x[[i]], y[[i]], Rng.seeded(0)) for i in range(4)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-15)


@pytest.mark.parametrize("outside", [torch.no_grad, torch.enable_grad])
def test_it_leaves_the_network_the_images_and_the_generators_of_torch_alone(outside: type) -> None:
    x, y = batch()
    inputs = x.clone()
    model = network()
    model[2].eval()  # a mode of its own must survive
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    state = torch.get_rng_state()
    with outside():
        found = Pgd(epsilon=0.1, step=0.03, steps=3)(model, x, y, Rng.seeded(0))
    assert not found.requires_grad
    assert torch.equal(x, inputs)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())
    assert [m.training for m in model.modules()] == modes
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_modes_are_restored_when_the_network_fails() -> None:
    x, y = batch()
    model = network()
    with pytest.raises(RuntimeError):
        Pgd(epsilon=0.1, step=0.03, steps=3)(model, x[..., :3], y, Rng.seeded(0))
    assert all(m.training for m in model.modules())
