"""Square Attack against its loop over single images, the authors' code, and what it promises."""

from itertools import pairwise
from math import inf
from typing import Any

import pytest
import torch
from attack_samples import right, trained
from evaluation_samples import data, network, unchanged
from oracles import square as oracle
from torch import Tensor, nn
from torch.nn import functional as F
from wording import says

from vicinal.attacks.square import Square
from vicinal.attacks.threat import Threat
from vicinal.data.split import Split
from vicinal.draws import Rng


@pytest.mark.parametrize(("height", "width"), [(6, 6), (5, 6)])
def test_square_equals_algorithm_1(height: int, width: int) -> None:
    model, x, y = trained()
    x, y = x[:6], y[:6]
    if height < width:
        model, x = nn.Sequential(nn.ZeroPad2d((0, 0, 0, 1)), model), x[:, :, :5]
    ours = Square(Threat(0.05), 60, 0.5)(model, x, y, Rng.seeded(0))
    rng = Rng.seeded(0)
    stripes, draws = rng.uniform_like(x[:, :, :1]), rng.uniform_like(x.new_empty(6, 60, 5))
    for i in range(6):
        label = int(y[i].argmax())
        settings = {"epsilon": 0.05, "p_init": 0.5}
        expected = oracle.square(model, x[i], label, stripes[i], draws[i], **settings)
        torch.testing.assert_close(ours[i], expected, rtol=0, atol=1e-15)


def test_it_breaks_as_many_images_as_the_authors_code() -> None:
    """The code's squares leave the last row and column alone, unless it draws from one more."""
    pytest.importorskip("autoattack")
    from autoattack.square import SquareAttack  # noqa: PLC0415  # pyright: ignore

    class Inclusive(SquareAttack):
        def random_int(self, low: int = 0, high: int = 1, shape: tuple[int, ...] = (1,)) -> Tensor:
            return super().random_int(low, high + 1, shape)

    model, x, y = trained()
    ours, theirs = [], []
    for seed in range(12):
        rng = Rng.seeded(seed)
        found = Square(Threat(0.05), 150)(model, x, y, rng.of_rows(range(len(x))))
        ours.append(right(model, found, y).double().mean())
        attack = Inclusive(model, n_queries=150, eps=0.05, seed=seed, device="cpu")
        images = attack.perturb(x.float().double(), y.argmax(1))
        theirs.append(right(model, images, y).double().mean())
    a, b = torch.stack(ours), torch.stack(theirs)
    error = ((a.var() + b.var()) / 12).sqrt()
    assert (a.mean() - b.mean()).abs() < 4 * error


def test_it_stays_in_the_ball_and_in_the_cube() -> None:
    model, x, y = trained()
    x = x.clone()
    x[0], x[1] = 0, 1  # where the cube's faces bind
    found = Square(Threat(0.1), 30)(model, x, y, Rng.seeded(0))
    assert (found - x).abs().max() <= 0.1 + 1e-12
    assert (found - x).abs().max() >= 0.1 - 1e-12
    assert found.min() >= 0
    assert found.max() <= 1


def test_a_larger_ball_leaves_fewer_images_right() -> None:
    model, x, y = trained()
    standing = []
    for epsilon in (0, 0.03, 0.06, 0.12, 0.4):
        found = Square(Threat(epsilon), 60)(model, x, y, Rng.seeded(0))
        standing.append(right(model, found, y).sum().item())
    assert standing[0] == right(model, x, y).sum()
    for smaller, larger in pairwise(standing):
        assert larger < smaller


def test_more_queries_never_raise_the_margin() -> None:
    """Each query keeps what was found before it: of one schedule, a part is no better."""
    model, x, y = trained()
    margins = []
    for queries in (1, 2, 4, 8):  # so few that all squares are of the same side
        found = Square(Threat(0.02), queries, 1e-3)(
            model, x, y, Rng.seeded(0).of_rows(range(len(x)))
        )
        labels = y.argmax(1).tolist()
        each = [oracle.margin(model, image, k) for image, k in zip(found, labels, strict=True)]
        margins.append(torch.tensor(each))
    for fewer, more in pairwise(margins):
        assert (more <= fewer + 1e-12).all()
        assert (more < fewer - 1e-12).any()


def test_a_sample_alone_gets_the_same_image() -> None:
    model, x, y = trained()
    attack, rng = Square(Threat(0.05), 40), Rng.seeded(0)
    together = attack(model, x[:6], y[:6], rng.of_rows(range(6)))
    for i in range(6):
        alone = attack(model, x[[i]], y[[i]], rng.of_rows([i]))
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-15)


def test_it_needs_no_gradient() -> None:
    """A network of rounded pixels, whose gradient vanishes, falls to it all the same."""

    class Rounded(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model((x * 32).round() / 32)

    model, x, y = trained()
    found = Square(Threat(0.1), 100)(Rounded(), x, y, Rng.seeded(0))
    assert right(Rounded(), found, y).sum() < right(Rounded(), x, y).sum() / 2


def test_it_leaves_the_network_the_images_and_the_generators_of_torch_alone() -> None:
    model, samples = network(), data(6).test
    assert isinstance(samples, Split)
    x, y = samples.x.float() / 255, F.one_hot(samples.y, 4).float()
    inputs, state = x.clone(), torch.get_rng_state()
    with unchanged(model):
        found = Square(Threat(0.03), 3)(model, x, y, Rng.seeded(0))
    assert not found.requires_grad
    assert torch.equal(x, inputs)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threat": Threat(0.5, "l2")}, "^threat.norm ... linf ... l2"),
        ({"threat": Threat(inf)}, "^threat.epsilon ... finite ... inf"),
        ({"queries": 0}, "^queries ... 1 ... 0"),
        ({"p_init": 0.0}, "^p_init ... above 0 ... at most 1 ... 0.0"),
        ({"p_init": 1.5}, "^p_init ... above 0 ... at most 1 ... 1.5"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=says(message)):
        Square(**{"threat": Threat(0.1)} | settings)
