"""PGD against its loop, what it promises, and what it leaves alone."""

from dataclasses import replace

import pytest
import torch
from oracles import attacks as oracle
from torch import Tensor, nn
from torch.nn import functional as F

from vicinal.attacks.pgd import Pgd
from vicinal.attacks.threat import Threat
from vicinal.draws import Rng
from vicinal.models.normalized import Normalize


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
        uniform = torch.empty_like(x).uniform_(generator=Rng.seeded(0).device)
        starts = (x + 0.1 * (2 * uniform - 1)).clamp(0, 1)
    ours = replace(Pgd.of_pixels(**settings), random_start=random_start)(model, x, y, Rng.seeded(0))
    expected = oracle.pgd(network().eval(), x, y, starts, **settings)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-15)


def test_it_stays_in_the_ball_and_in_the_cube_and_raises_the_loss() -> None:
    x, y = batch()
    x[0], x[1] = 0, 1  # where the cube's faces bind
    model = network()
    found = Pgd.of_pixels(8 / 255, 2 / 255, 7)(model, x, y, Rng.seeded(0))
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
    found = Pgd.of_pixels(0.1, 0.05, 5)(model, x, y, Rng.seeded(0))
    torch.testing.assert_close(found, (x + 0.1 * up).clamp(0, 1), rtol=0, atol=1e-15)


def test_of_no_radius_it_is_the_image_itself() -> None:
    x, y = batch()
    assert torch.equal(Pgd.of_pixels(0, 0.1, 3)(network(), x, y, Rng.seeded(0)), x)


def test_a_sample_is_attacked_regardless_of_its_company() -> None:
    x, y = batch()
    model = network()
    attack = Pgd(Threat(0.1), 0.3, 4, random_start=False)
    together = attack(model, x, y, Rng.seeded(0))
    alone = [attack(model, x[[i]], y[[i]], Rng.seeded(0)) for i in range(4)]
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
        found = Pgd.of_pixels(0.1, 0.03, 3)(model, x, y, Rng.seeded(0))
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
        Pgd.of_pixels(0.1, 0.03, 3)(model, x[..., :3], y, Rng.seeded(0))
    assert all(m.training for m in model.modules())


def test_in_l2_it_follows_the_normalised_gradient() -> None:
    x, y = batch()
    model = network().eval()
    ours = Pgd(Threat(0.5, "l2"), 0.4, 3, random_start=False)(model, x, y, Rng.seeded(0))
    for i in range(len(x)):
        at = x[i]
        for _ in range(3):
            gradient, _ = oracle.input_gradient(model, at, int(y[i].argmax()))
            at = at + 0.4 * 0.5 * gradient / gradient.square().sum().sqrt()
            shift = at - x[i]
            length = shift.square().sum().sqrt().item()
            at = (x[i] + shift * min(1, 0.5 / length)).clamp(0, 1)
        torch.testing.assert_close(ours[i], at, rtol=0, atol=1e-12)


def test_in_normalised_units_it_is_the_attack_on_the_normalised_image() -> None:
    """As code does that normalises in its data loader: x and ε are both on the network's scale."""
    x, y = batch()
    body = network().eval()
    mean, std = torch.tensor([0.3, 0.4, 0.5]), torch.tensor([0.2, 0.5, 0.25])
    model = nn.Sequential(Normalize(mean.tolist(), std.tolist()), body)
    scale = std.double().view(3, 1, 1)
    z = (x - mean.double().view(3, 1, 1)) / scale
    free = {"units": "normalized", "clip": "none"}
    for norm in ("linf", "l2"):
        ours = Pgd(Threat(0.3, norm, **free), 0.4, 4, random_start=False)
        there = Pgd(Threat(0.3, norm, clip="none"), 0.4, 4, random_start=False)
        found = (ours(model, x, y, Rng.seeded(0)) - x) / scale
        expected = there(body, z, y, Rng.seeded(0)) - z
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)  # std is float32


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("steps", "step", "random_start"), [(1, 1.0, False), (10, 0.2, False), (7, 1 / 30, True)]
)
def test_it_equals_foolboxs(norm: str, steps: int, step: float, random_start: bool) -> None:
    """FGSM; BIM of ten steps of ε/5; PGD from the same start."""
    foolbox = pytest.importorskip("foolbox")
    x, y = (each.float() for each in batch())
    model = network().float().eval()
    epsilon = {"linf": 0.05, "l2": 0.6}[norm]
    attack = Pgd(Threat(epsilon, norm), step, steps, random_start)
    start = attack.threat.around(model, x).start(Rng.seeded(0)) if random_start else x
    kind = {
        "linf": foolbox.attacks.LinfProjectedGradientDescentAttack,
        "l2": foolbox.attacks.L2ProjectedGradientDescentAttack,
    }[norm]
    theirs = kind(rel_stepsize=step, steps=steps, random_start=random_start)
    theirs.get_random_start = lambda x0, epsilon: x0 + (start - x0.raw)  # of equal draws
    labels = y.argmax(1)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
    _, expected, success = theirs(wrapped, x, labels, epsilons=epsilon)
    ours = attack(model, x, y, Rng.seeded(0))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
    assert torch.equal(model(ours).argmax(1) != labels, success)
