"""Each game's loss against its equation, and who descends and who ascends it."""

import pytest
import torch
from oracles import gan as oracle
from torch import Tensor, nn
from wording import says

from vicinal.draws import Rng, beta, permutation
from vicinal.tasks.gan.games import CodeMixup, Draw, Game, PaperMixup, Vanilla, loss
from vicinal.tasks.gan.mixtures import ring

GAMES: list[Game] = [Vanilla(), CodeMixup(c=1.0), PaperMixup(alpha=1.0)]
COUNT = 12


def points(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, COUNT, 2, generator=generator, dtype=torch.float64))


def drawing(*pairs: tuple[Tensor, Tensor]) -> Draw:
    """Hands out what is given, in turn."""
    remaining = iter(pairs)
    return lambda: next(remaining)


def network(outputs: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, outputs)).double()


def logits(discriminator: nn.Module, rows: list[list[float]]) -> list[float]:
    return [discriminator(torch.tensor(row, dtype=torch.float64)).item() for row in rows]


def test_vanilla_is_half_of_the_gans_equation() -> None:
    real, fake = points(0)
    d = network()
    ours = loss(d, Vanilla().for_discriminator(drawing((real, fake)), Rng.seeded(0)))
    expected = oracle.plain(logits(d, real.tolist()), logits(d, fake.tolist()))
    assert 2 * ours.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
@pytest.mark.parametrize("batch", ["for_discriminator", "for_generator"])
def test_the_papers_mixup_equals_its_equation(batch: str, alpha: float) -> None:
    real, fake = points(0)
    d, game = network(), PaperMixup(alpha)
    lams = beta(alpha, COUNT, Rng.seeded(3)).tolist()
    ours = loss(d, getattr(game, batch)(drawing((real, fake)), Rng.seeded(3)))
    found = logits(d, oracle.paper_points(real, fake, lams))
    terms = [oracle.cross_entropy(z, lam) for z, lam in zip(found, lams, strict=True)]
    assert ours.item() == pytest.approx(sum(terms) / COUNT, rel=1e-12)


@pytest.mark.parametrize("c", [0.2, 1.0])
def test_the_codes_mixup_equals_a_loop_over_two_pools(c: float) -> None:
    pairs, rng = (points(0), points(1)), Rng.seeded(3)
    partner = permutation(2 * COUNT, rng, torch.device("cpu")).tolist()
    lams = (c * torch.rand(2 * COUNT, 1, generator=rng.cpu).double()).flatten().tolist()
    x, y = CodeMixup(c).for_discriminator(drawing(*pairs), Rng.seeded(3))
    expected = torch.tensor(oracle.code_batch(*pairs, lams, partner), dtype=torch.float64)
    torch.testing.assert_close(torch.cat([x, y], dim=1), expected, rtol=1e-12, atol=1e-12)
    assert max(lams) <= c


def test_the_codes_generator_plays_on_points_that_are_not_mixed() -> None:
    found = CodeMixup().for_generator(drawing(points(0)), Rng.seeded(0))
    expected = Vanilla().for_generator(drawing(points(0)), Rng.seeded(0))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_weaker_mixup_tends_to_no_mixing() -> None:
    real, fake = points(0)
    points_, lam = PaperMixup(1e-4).for_discriminator(drawing((real, fake)), Rng.seeded(0))
    torch.testing.assert_close(points_, torch.where(lam > 0.5, real, fake))
    pairs = (points(0), points(1))
    mixed, _ = CodeMixup(1e-9).for_discriminator(drawing(*pairs), Rng.seeded(0))
    torch.testing.assert_close(mixed.sum(dim=0), torch.cat(pairs[1]).sum(dim=0))


@pytest.mark.parametrize("game", GAMES, ids=repr)
def test_the_generator_ascends_what_the_discriminator_descends(game: Game) -> None:
    g, d = network(2), network()
    noise, real = points(5)[0], ring().sample(COUNT, Rng.seeded(0)).double()

    def played(batch: str) -> Tensor:
        draw = lambda: (real, g(noise))  # noqa: E731
        return loss(d, getattr(game, batch)(draw, Rng.seeded(1)))

    for batch, module, sign in (("for_discriminator", d, -1), ("for_generator", g, 1)):
        before = played(batch)
        gradients = torch.autograd.grad(before, tuple(module.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(module.parameters(), gradients, strict=True):
                weight.add_(gradient, alpha=sign * 1e-3)
        slope = sum(float(gradient.square().sum()) for gradient in gradients)
        assert played(batch).item() - before.item() == pytest.approx(sign * 1e-3 * slope, rel=0.1)


def test_the_generators_gradient_saturates_as_in_the_min_max() -> None:
    """The real half of its batch is a constant: what is left is -l(D(g(z)), 0), not l(.., 1)."""
    g, d = network(2), network()
    noise, real = points(5)
    parameters = tuple(g.parameters())
    ours = -loss(d, Vanilla().for_generator(lambda: (real, g(noise)), Rng.seeded(0)))
    expected = -nn.functional.softplus(d(g(noise))).mean() / 2
    torch.testing.assert_close(
        torch.autograd.grad(ours, parameters), torch.autograd.grad(expected, parameters)
    )


def test_impossible_strengths_are_refused() -> None:
    with pytest.raises(ValueError, match=says("^alpha ... 0 ... Vanilla")):
        PaperMixup(0)
    with pytest.raises(ValueError, match=says("^c ... 0 ... 1 ... 1.5")):
        CodeMixup(1.5)
