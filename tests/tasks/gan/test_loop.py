"""A GAN's training: the paper's networks and turns, and runs that repeat and resume."""

from typing import Any

import pytest
import torch
from wording import says

from vicinal.draws import Rng
from vicinal.errors import DivergedError
from vicinal.optim import num_trained
from vicinal.tasks.gan.games import CodeMixup, Game, PaperMixup, Vanilla
from vicinal.tasks.gan.loop import GanLoop, Setup
from vicinal.tasks.gan.mixtures import grid, ring

GAMES: list[Game] = [Vanilla(), CodeMixup(), PaperMixup()]


def small(game: Game, seed: int = 0) -> GanLoop:
    setup = Setup(data=ring(), game=game, width=16, batch_size=8, discriminator_steps=2)
    return GanLoop(setup, seed)


def after(loop: GanLoop, steps: int) -> dict[str, Any]:
    for _ in range(steps):
        loop.step()
    return loop.state()


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    try:
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    except AssertionError:
        return False
    return True


def test_the_networks_are_the_papers() -> None:
    loop = GanLoop(Setup(data=grid(), game=Vanilla()), 0)
    hidden = 2 * (512 * 512 + 512)
    assert num_trained(loop.generator) == 3 * 512 + hidden + 513 * 2
    assert num_trained(loop.discriminator) == 3 * 512 + hidden + 513


@pytest.mark.parametrize("game", GAMES, ids=repr)
def test_the_discriminator_takes_five_turns_then_the_generator_one(game: Game) -> None:
    loop = GanLoop(Setup(data=ring(), game=game, width=8), 0)
    turns: list[str] = []
    for name in ("discriminator", "generator"):
        adam = getattr(loop, f"{name}_adam")
        adam.register_step_post_hook(lambda *_, name=name: turns.append(name))
    after(loop, 2)
    assert turns == [*["discriminator"] * 5, "generator"] * 2


@pytest.mark.parametrize("game", GAMES, ids=repr)
def test_resuming_equals_never_having_stopped(game: Game) -> None:
    first = small(game)
    kept = after(first, 3)
    resumed = small(game, seed=9)
    resumed.restore(kept)
    assert equal(after(resumed, 3), after(small(game), 6))


def test_seeds_repeat_and_differ_whatever_else_is_random() -> None:
    torch.manual_seed(1)
    one = after(small(CodeMixup()), 2)
    before = torch.get_rng_state()
    other = after(small(CodeMixup()), 2)
    assert equal(one, other)
    assert torch.equal(before, torch.get_rng_state())
    assert not equal(one, after(small(CodeMixup(), seed=1), 2))


def test_mixup_without_strength_is_the_vanilla_gan() -> None:
    vanilla = after(small(Vanilla()), 4)
    assert equal(vanilla, after(small(CodeMixup(c=0.0)), 4))
    assert not equal(vanilla, after(small(CodeMixup(c=0.1)), 4))


def test_looking_at_points_changes_no_run() -> None:
    watched = small(PaperMixup())
    noise = watched.noise(5, Rng.seeded(3))
    state = after(watched, 1)
    watched.generated(noise)
    assert equal(watched.state(), state)


def test_points_that_are_not_finite_are_not_shown() -> None:
    loop = small(Vanilla())
    loop.generator.fc.bias.data.fill_(torch.nan)
    with pytest.raises(DivergedError, match=says("generator ... finite ... step 0")):
        loop.generated(loop.noise(3, Rng.seeded(0)))


def test_a_game_needs_turns() -> None:
    with pytest.raises(ValueError, match=says("^discriminator_steps ... 1 ... 0")):
        Setup(data=ring(), game=Vanilla(), discriminator_steps=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("game", GAMES, ids=repr)
def test_a_gpu_begins_where_a_cpu_does(game: Game) -> None:
    setup = Setup(data=ring(), game=game, width=16)
    on_cpu, on_gpu = GanLoop(setup, 0), GanLoop(setup, 0, "cuda")
    noise = on_cpu.noise(50, Rng.seeded(3))
    for _ in range(2):
        torch.testing.assert_close(on_gpu.generated(noise), on_cpu.generated(noise))
        on_gpu.step()
        on_cpu.step()
