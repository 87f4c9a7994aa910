"""Friendly adversarial training against Alg. 1 of its paper, and when its tau grows."""

import pytest
import torch
from oracles import attacks as oracle
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.attacks.pgd import Pgd
from vicinal.data.dataset import Data
from vicinal.data.split import Split
from vicinal.draws import Rng
from vicinal.losses import cross_entropy
from vicinal.methods.fat import Fat
from vicinal.vicinities.identity import Identity


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)]
    return nn.Sequential(*layers).double()


def batch(count: int = 12) -> tuple[Tensor, Tensor]:
    """Half of them as the network sees them, so that some are missed at once and some late."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, 3, 5, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (count,), generator=generator)
    seen = network().eval()(x).argmax(dim=1)
    labels[: count // 2 + 3] = seen[: count // 2 + 3]
    return x, F.one_hot(labels, 3).double()


def fixed(tau: int) -> Tensor:
    return torch.tensor(tau)


@pytest.mark.parametrize("tau", [0, 1, 2, 9])
@pytest.mark.parametrize("omega", [0.0, 0.01])
def test_the_attack_equals_algorithm_1(tau: int, omega: float) -> None:
    x, y = batch()
    settings = {"epsilon": 0.1, "step": 0.02, "steps": 6}
    rng = Rng.seeded(0).device
    starts = (x + torch.empty_like(x).uniform_(-0.1, 0.1, generator=rng)).clamp(0, 1)
    noise = [omega * torch.empty_like(x).normal_(generator=rng) for _ in range(6)]
    expected = oracle.friendly(
        network().eval(),
        x,
        y,
        starts,
        lambda k, i: noise[k][i] if omega else 0 * x[i],
        **settings,
        tau=tau,
    )
    method = Fat(Identity(), **settings, omega=omega)
    ours = method.friendly(network(), x, y, fixed(tau), Rng.seeded(0))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-15)


def test_at_tau_0_a_sample_stops_where_it_is_first_missed() -> None:
    x, y = batch()
    model = network().eval()

    def missed(x: Tensor) -> Tensor:
        return model(x).argmax(dim=1) != y.argmax(dim=1)

    path = [
        Fat(Identity(), epsilon=0.1, step=0.02, steps=steps, omega=0).friendly(
            model, x, y, fixed(99), Rng.seeded(0)
        )
        for steps in range(1, 7)
    ]
    start = Pgd.of_pixels(0.1, 0.02, 0)(model, x, y, Rng.seeded(0))
    path = torch.stack([start, *path])
    friendly = Fat(Identity(), epsilon=0.1, step=0.02, steps=6, omega=0)
    stopped = friendly.friendly(model, x, y, fixed(0), Rng.seeded(0))
    lengths = set()
    for i in range(len(x)):
        misses = [k for k, at in enumerate(path) if missed(at)[i]]
        length = misses[0] if misses else 6
        lengths.add(length)
        assert torch.equal(stopped[i], path[length, i])
    assert {0, 6} < lengths  # some at the start, some never, some in between


def test_with_a_tau_that_is_never_reached_it_is_pgd() -> None:
    x, y = batch()
    settings = {"epsilon": 0.1, "step": 0.02, "steps": 6}
    method = Fat(Identity(), **settings, omega=0)
    ours = method.friendly(network(), x, y, fixed(6), Rng.seeded(0))
    assert torch.equal(ours, Pgd.of_pixels(**settings)(network(), x, y, Rng.seeded(0)))


def test_it_stays_in_the_ball_and_leaves_the_network_alone() -> None:
    x, y = batch()
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = Fat(Identity(), omega=0.5).friendly(model, x, y, fixed(2), Rng.seeded(0))
    assert (found - x).abs().max() <= 0.031 + 1e-15
    assert found.min() >= 0
    assert found.max() <= 1
    assert all(p.grad is None for p in model.parameters())
    assert all(m.training for m in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_loss_is_of_what_the_attack_finds() -> None:
    x, y = batch()
    method = Fat(Identity(), steps=4)
    model, twin = method.prepare(network()), network()
    (ours,) = method(model, x, y, Rng.seeded(0))
    found = method.friendly(twin, x, y, fixed(0), Rng.seeded(0))
    assert torch.equal(ours, cross_entropy(twin(found), y).mean())


def test_tau_grows_after_the_papers_shares_of_the_run() -> None:
    """10 images in batches of 4 are 3 steps an epoch; 5/12 and 3/4 of 12 epochs are 5 and 9."""
    split = Split(torch.zeros(10, 3, 5, 5, dtype=torch.uint8), torch.zeros(10, dtype=torch.int64))
    data = Data(split, split, None, 3, (0.0,), (1.0,), {}, None)
    method = Fat(Identity(), steps=1, epochs=12, batch_size=4).attach(data)
    x, y = batch(2)
    model = method.prepare(network())
    taus = []
    for _ in range(12 * 3):
        taus.append(int(method.tau(model.steps_taken)))
        list(method(model, x, y, Rng.seeded(0)))
    assert taus == [0] * 15 + [1] * 12 + [2] * 9


def test_its_count_is_in_the_checkpoint() -> None:
    x, y = batch(2)
    split = Split(torch.zeros(4, 3, 5, 5, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    data = Data(split, split, None, 3, (0.0,), (1.0,), {}, None)
    fat = Fat(Identity(), steps=1, switches=[0.5, 0.75], epochs=4, batch_size=4)
    method = fat.attach(data)  # a step per epoch: it switches after 2 and 3
    model = method.prepare(network())
    for _ in range(2):
        list(method(model, x, y, Rng.seeded(0)))
    resumed = method.prepare(network())
    resumed.load_state_dict(model.state_dict())
    assert int(method.tau(resumed.steps_taken)) == 1


def test_the_papers_own_run_switches_after_epochs_50_and_90() -> None:
    split = Split(torch.zeros(128, 1), torch.zeros(128, dtype=torch.int64))
    data = Data(split, split, None, 3, (0.0,), (1.0,), {}, None)
    assert Fat(Identity()).attach(data).ends == [50, 90]


def test_a_network_that_it_did_not_prepare_is_refused() -> None:
    x, y = batch(2)
    with pytest.raises(ValueError, match=says("^model ... prepared")):
        next(Fat(Identity())(network(), x, y, Rng.seeded(0)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": -1}, "epsilon ... 0 ... -1"),
        ({"steps": 0}, "steps ... 1 ... 0"),
        ({"tau": [-1, 0, 1]}, "tau ... 0 ... [-1, 0, 1]"),
        ({"tau": [0]}, "switches ... tau ... 2 ... 1"),
        ({"switches": [0.5, 0.2]}, "switches ... 0 ... 1 ... [0.5, 0.2]"),
        ({"switches": [50, 90]}, "switches ... 0 ... 1 ... [50, 90]"),
    ],
    ids=repr,
)
def test_settings_without_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=says(f"^{message}")):
        Fat(Identity(), **settings)
